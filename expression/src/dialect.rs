//! The functions and settings of the dialect: what DataFusion's session state would tell its planner.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_nested::array_has::array_has_udf;
use datafusion_functions_nested::extract::array_element_udf;
use datafusion_functions_nested::length::array_length_udf;
use datafusion_functions_nested::min_max::{array_max_udf, array_min_udf};
use datafusion_functions_nested::planner::FieldAccessPlanner;
use datafusion_functions_nested::position::array_position_udf;

use super::bounded::bounded;
use super::times::Microseconds;

pub(super) static DIALECT: LazyLock<Dialect> = LazyLock::new(Dialect::new);

/// Functions that are as immutable as any, but tell of the engine or of the schema, not of the event.
const NOT_OF_THE_EVENT: [&str; 3] = ["arrow_field", "arrow_metadata", "version"];

/// Known so that a refusal can say what they are.
const AGGREGATES: &str = "approx_distinct approx_median approx_percentile_cont array_agg avg bit_and bit_or bit_xor bool_and \
    bool_or corr count covar covar_pop covar_samp first_value grouping last_value max mean median min nth_value \
    percentile_cont quantile_cont regr_slope stddev stddev_pop stddev_samp string_agg sum var var_pop var_samp var_sample \
    variance";
const WINDOW_FUNCTIONS: &str = "cume_dist dense_rank lag lead ntile percent_rank rank row_number";

/// What a name in front of parentheses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FunctionKind {
    /// Its value depends on its arguments alone.
    Pure,
    /// It reads a clock, randomness, the engine.
    Impure,
    Aggregate,
    Window,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Dialect {
    functions: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: Arc<ConfigOptions>,
}

impl Dialect {
    fn new() -> Self {
        let mut functions = HashMap::new();
        let lists = [array_length_udf(), array_element_udf(), array_has_udf()];
        let lists = lists.into_iter().chain([array_min_udf(), array_max_udf(), array_position_udf()]);
        for function in datafusion_functions::all_default_functions().into_iter().chain(lists).map(bounded) {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                functions.insert(name.to_owned(), Arc::clone(&function));
            }
        }
        let mut options = ConfigOptions::new();
        options.execution.time_zone = Some("UTC".to_owned());
        options.sql_parser.collect_spans = true;
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        Self {
            functions,
            planners: vec![
                Arc::new(CoreFunctionPlanner::default()),
                Arc::new(FieldAccessPlanner),
                Arc::new(DatetimeFunctionPlanner),
                Arc::new(UnicodeFunctionPlanner),
            ],
            options: Arc::new(options),
        }
    }

    pub(super) fn kind(&self, name: &str) -> FunctionKind {
        match self.functions.get(name) {
            Some(function) if function.signature().volatility != Volatility::Immutable => FunctionKind::Impure,
            Some(function) if NOT_OF_THE_EVENT.contains(&function.name()) => FunctionKind::Impure,
            Some(_) => FunctionKind::Pure,
            None if AGGREGATES.split_whitespace().any(|known| known == name) => FunctionKind::Aggregate,
            None if WINDOW_FUNCTIONS.split_whitespace().any(|known| known == name) => FunctionKind::Window,
            None => FunctionKind::Unknown,
        }
    }

    /// The names that may be called, in no order.
    pub(super) fn pure_names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str).filter(|name| self.kind(name) == FunctionKind::Pure)
    }

    pub(super) fn shared_options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }
}

impl ContextProvider for Dialect {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("no table can be read: {name}")
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Microseconds))
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.pure_names().map(str::to_owned).collect()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
