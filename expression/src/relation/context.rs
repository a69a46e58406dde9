//! What a query may name: collections, functions, aggregates, `ROW_NUMBER`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::expr::{AggregateFunction as Called, AggregateFunctionParams};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, PlannerResult, RawAggregateExpr, TypePlanner};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, HigherOrderUDF, PartitionEvaluator, ScalarUDF, Signature,
    TableSource, Volatility, WindowUDF, WindowUDFImpl, lit,
};

use super::{AggregateFunction, Collection};
use crate::dialect::DIALECT;
use crate::normal::normal_type;
use crate::parse::{nearest, suggestion};

/// How `ROW_NUMBER` is called.
pub const ROW_NUMBER: &str = "row_number";

/// What a query is planned with.
pub struct Context {
    collections: Vec<Arc<Source>>,
    aggregates: Vec<(Vec<&'static str>, Arc<AggregateUDF>)>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

/// A collection, as the planner has it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    /// Its place among what the query was given.
    pub number: usize,
    schema: SchemaRef,
}

impl Context {
    pub fn new(collections: &[Collection], aggregates: &[AggregateFunction]) -> Context {
        let source = |(number, of): (usize, &Collection)| {
            let is_key = |column: usize| of.keys.iter().any(|key| key.contains(&column));
            let field =
                |(n, (name, data_type)): (usize, &(String, DataType))| Field::new(name, data_type.clone(), !is_key(n));
            let fields: Vec<Field> = of.fields.iter().enumerate().map(field).collect();
            Arc::new(Source { name: of.name.clone(), number, schema: Arc::new(Schema::new(fields)) })
        };
        let aggregate = |of: &AggregateFunction| {
            let function = Aggregated { of: of.clone(), signature: Signature::variadic_any(Volatility::Immutable) };
            (of.spellings.clone(), Arc::new(AggregateUDF::from(function)))
        };
        let own: [Arc<dyn ExprPlanner>; 1] = [Arc::new(Counting)];
        Context {
            collections: collections.iter().enumerate().map(source).collect(),
            aggregates: aggregates.iter().map(aggregate).collect(),
            planners: DIALECT.get_expr_planners().iter().cloned().chain(own).collect(),
        }
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let found = self
            .collections
            .iter()
            .find(|known| matches!(&name, TableReference::Bare { table } if **table == known.name));
        match found {
            Some(found) => Ok(found.clone()),
            None => {
                let names = self.collections.iter().map(|known| known.name.as_str());
                plan_err!("nothing is called `{name}`{}", suggestion(nearest(name.table(), names)))
            }
        }
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        DIALECT.get_function_meta(name)
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        DIALECT.get_type_planner()
    }

    fn options(&self) -> &ConfigOptions {
        DIALECT.options()
    }

    fn udf_names(&self) -> Vec<String> {
        DIALECT.udf_names()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.iter().find(|(spellings, _)| spellings.contains(&name)).map(|(_, function)| function.clone())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        (name == ROW_NUMBER)
            .then(|| Arc::new(WindowUDF::from(RowNumber { signature: Signature::nullary(Volatility::Immutable) })))
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.iter().flat_map(|(spellings, _)| spellings).map(|name| (*name).to_owned()).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![ROW_NUMBER.to_owned()]
    }
}

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// An aggregate, as far as the planner needs it: its types.
#[derive(Debug)]
pub struct Aggregated {
    pub of: AggregateFunction,
    signature: Signature,
}

impl PartialEq for Aggregated {
    fn eq(&self, other: &Aggregated) -> bool {
        self.of.name == other.of.name
    }
}

impl Eq for Aggregated {}

impl Hash for Aggregated {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.name.hash(state);
    }
}

impl AggregateUDFImpl for Aggregated {
    fn name(&self) -> &str {
        self.of.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let needed = if self.of.has_number { 2 } else { 1 };
        if types.len() != needed {
            let beside = if self.of.has_number { "a value and a number" } else { "one value" };
            return plan_err!("`{}` takes {beside}", self.of.name);
        }
        let Some(input) = normal_type(&types[0]) else { return plan_err!("`{}` of a {}", self.of.name, types[0]) };
        (self.of.result)(&input).or_else(|needs| plan_err!("`{}` needs {needs}, this is a {}", self.of.name, types[0]))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        plan_err!("`{}` is not aggregated here", self.of.name)
    }
}

/// `ROW_NUMBER`, as far as the planner needs it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowNumber {
    signature: Signature,
}

impl WindowUDFImpl for RowNumber {
    fn name(&self) -> &str {
        ROW_NUMBER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        plan_err!("rows are not numbered here")
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::UInt64, false)))
    }
}

/// `count(*)` and `count()` count rows.
#[derive(Debug)]
struct Counting;

impl ExprPlanner for Counting {
    fn plan_aggregate(&self, raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        #[expect(deprecated)]
        let counts_rows = raw.func.name() == "count" && matches!(raw.args.as_slice(), [] | [Expr::Wildcard { .. }]);
        if !counts_rows {
            return Ok(PlannerResult::Original(raw));
        }
        let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = raw;
        let called = |args| {
            let params = AggregateFunctionParams {
                args,
                distinct,
                filter: filter.clone(),
                order_by: order_by.clone(),
                null_treatment,
            };
            Expr::AggregateFunction(Called { func: func.clone(), params })
        };
        let name = NamePreserver::new_for_projection().save(&called(args));
        Ok(PlannerResult::Planned(name.restore(called(vec![lit(1_i64)]))))
    }
}
