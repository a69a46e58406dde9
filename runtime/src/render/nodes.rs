//! The nodes of a view's query, rendered: from what it reads to its rows, as bytes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_clocks::Tick;
use headwater_connectors::Path;
use headwater_expression::relation::{self, Call, Join, Node, Order, Top};
use headwater_expression::{Expression, in_parts};
use headwater_operators::accumulators::{ColumnPlan, result_types};
use headwater_operators::aggregate::find;
use headwater_operators::exchange::RowChanges;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::relational::aggregate::{AggregatePlan, aggregate};
use headwater_operators::relational::distinct::distinct;
use headwater_operators::relational::join::{JoinKind, Nulls, join};
use headwater_operators::relational::map::{self, Mapped, held, map};
use headwater_operators::relational::top::{OrderCodec, placed, top};
use headwater_operators::relational::{Bytes, Keyed, Rows};
use timely::dataflow::Stream;

use crate::base::failure::Failure;
use crate::base::id::{RowsId, ScanId, SourceId};
use crate::catalog::graph::Kind;
use crate::catalog::opened::Opened;
use crate::catalog::relation::names_of;
use crate::ingest::lookups::Content;
use crate::ingest::versions::value_types;

/// What the nodes of a query are rendered with.
pub struct Nodes<'a, 'scope> {
    pub opened: &'a Arc<Opened>,
    /// What the collections of the query are.
    pub reads: &'a [Kind],
    /// What groups and other views have.
    pub rows: &'a Stream<'scope, Tick, Vec<RowChanges>>,
    /// What tables hold, where any is read.
    pub tables: Option<&'a Contents<'scope>>,
    /// Of a table, which scan of it counts.
    pub scan: &'a dyn Fn(SourceId) -> ScanId,
    /// Hears how many rows came with a null, or did not come, since an expression failed.
    pub failed: Failed,
    /// Sums that did not fit their type.
    pub unfit: Rc<RefCell<u64>>,
}

/// Hears how many rows failed.
pub type Failed = Rc<dyn Fn(u64)>;
/// What tables hold.
pub type Contents<'scope> = Stream<'scope, Tick, Vec<Content>>;

/// Rows, and the types of their columns.
pub struct TypedRows<'scope> {
    pub rows: Rows<'scope>,
    pub types: Vec<DataType>,
}

impl<'scope> Nodes<'_, 'scope> {
    pub fn render(&self, node: &Node) -> Result<TypedRows<'scope>, Failure> {
        match node {
            Node::Read { collection, columns } => self.read(self.reads[*collection], columns),
            Node::Map { of, condition, columns } => self.map(self.render(of)?, condition, columns),
            Node::Join(join) => self.join(join),
            Node::Aggregate { of, by, inputs, calls } => self.aggregate(self.render(of)?, (by, inputs), calls),
            Node::Distinct(of) => {
                let TypedRows { rows, types } = self.render(of)?;
                Ok(TypedRows { rows: distinct(rows.map(|row| (row, vec![]))), types })
            }
            Node::Union(all) => {
                let all = all.iter().map(|one| self.render(one)).collect::<Result<Vec<_>, _>>()?;
                let types = all.first().map(|one| one.types.clone()).unwrap_or_default();
                let rows = all.into_iter().map(|one| one.rows).reduce(|all, one| all.concat(one));
                Ok(TypedRows { rows: rows.expect("a union is of something"), types })
            }
            Node::Top(top) => self.top(top),
        }
    }

    fn read(&self, kind: Kind, columns: &[usize]) -> Result<TypedRows<'scope>, Failure> {
        let opened = self.opened;
        let rows = match kind {
            Kind::Group(group) => RowsId::from(group),
            Kind::View(view) => opened.job.rows_of(view),
            Kind::Source(table) => {
                let contents = self.tables.expect("a table that is read is held");
                return self.read_table(contents, table, columns);
            }
            Kind::Sink(_) | Kind::DeadLetters => unreachable!("nobody reads {kind:?}"),
        };
        let fields = opened.shape(rows).schema.fields();
        let types: Vec<DataType> = columns.iter().map(|column| fields[*column].data_type().clone()).collect();
        let behind = fields.len() - 2;
        let columns: Vec<usize> = columns.iter().copied().chain([behind, behind + 1]).collect();
        let (opened, codec) = (opened.clone(), codec(&types)?);
        let rows = map::opened(self.rows.clone(), rows, codec, move |batch| {
            let parts = opened.with_derived(rows, batch).into_iter();
            parts.map(|part| part.project(&columns).expect("columns of its shape")).collect()
        });
        Ok(TypedRows { rows, types })
    }

    /// Some columns of what a table holds, which queries know by their numbers.
    fn read_table(
        &self,
        contents: &Contents<'scope>,
        table: SourceId,
        columns: &[usize],
    ) -> Result<TypedRows<'scope>, Failure> {
        let (conf, open) = (&self.opened.job.sources[table], &self.opened.sources[table]);
        let of_table = open.table.as_ref().expect("a table");
        let key = conf.table.iter().flat_map(|table| &table.key).map(|key| key.text.clone());
        let name = |place: &usize| {
            let path = Path::parse(open.wanted.schema.field(*place).name());
            path.map_or_else(String::new, |path| path.names().join("."))
        };
        let known: Vec<String> = key.chain(of_table.values.iter().map(name)).collect();
        let values = value_types(self.opened, table);
        let types_held: Vec<DataType> = of_table.key_types.iter().chain(&values).cloned().collect();
        let schema = schema(&types_held);
        // As columns of features have them.
        let column = |name: String| {
            let at = known.iter().position(|known| *known == name).expect("what views read is held");
            Expression::column(&[at.to_string()], &schema).expect("a type that features have")
        };
        let expressions: Vec<Expression> = names_of(Some(&open.schema), columns).into_iter().map(column).collect();
        let types = types(&expressions);
        let codecs = (codec(&of_table.key_types)?, codec(&values)?);
        let rows = held(contents.clone(), (self.scan)(table), codecs, codec(&types)?, move |columns, _| {
            let rows = batch(&types_held, &columns);
            expressions.iter().map(|one| one.evaluate(&rows, &|_| None).values).collect()
        });
        Ok(TypedRows { rows, types })
    }

    /// Rows by a key, without those whose key has a null.
    pub fn known(
        &self,
        of: TypedRows<'scope>,
        (key, values): (&[Expression], &[Expression]),
    ) -> Result<Keyed<'scope>, Failure> {
        let is_known = key.iter().map(Expression::columns).map(|columns| columns[0].clone()).collect::<Vec<_>>();
        let (input, failed) = (of.types.clone(), self.failed.clone());
        let whole = codec(&of.types)?;
        let rows = map(of.rows, "known", codec(&of.types)?, move |columns, diffs| {
            let rows = batch(&input, columns);
            let has_null = |row: usize| is_known.iter().any(|name| rows[name.as_str()].is_null(row));
            let (left_out, kept): (Vec<u32>, Vec<u32>) =
                (0..rows.num_rows() as u32).partition(|row| has_null(*row as usize));
            failed(left_out.iter().filter(|row| diffs[**row as usize] > 0).count() as u64);
            let all = encoded(&whole, columns, rows.num_rows());
            Mapped { made: kept.iter().map(|row| all[*row as usize].clone()).collect(), of: Some(kept) }
        });
        self.keyed(TypedRows { rows, types: of.types }, (key, Some(values)), None)
    }

    fn map(
        &self,
        of: TypedRows<'scope>,
        condition: &Option<Expression>,
        columns: &[Expression],
    ) -> Result<TypedRows<'scope>, Failure> {
        let types = types(columns);
        let (evaluate, input) = (Evaluate::new(columns, &self.failed)?, of.types.clone());
        let (condition, failed) = (condition.clone(), self.failed.clone());
        let rows = map(of.rows, "map", codec(&of.types)?, move |columns, diffs| {
            let rows = batch(&input, columns);
            let Some(condition) = &condition else { return Mapped { made: evaluate.rows(&rows, diffs), of: None } };
            let evaluated = condition.evaluate(&rows, &|_| None);
            count(&failed, evaluated.failed.as_ref(), diffs);
            let passes = evaluated.values.as_boolean();
            let of: Vec<u32> = (0..rows.num_rows())
                .filter(|row| passes.is_valid(*row) && passes.value(*row))
                .map(|row| row as u32)
                .collect();
            let diffs: Vec<isize> = of.iter().map(|row| diffs[*row as usize]).collect();
            let some = take_record_batch(&rows, &UInt32Array::from(of.clone())).expect("rows of its own");
            Mapped { made: evaluate.rows(&some, &diffs), of: Some(of) }
        });
        Ok(TypedRows { rows, types })
    }

    /// Rows with the values of expressions as their key. `nulls`: a key with a null is then equal to none whose number is another one.
    fn keyed(
        &self,
        of: TypedRows<'scope>,
        (key, values): (&[Expression], Option<&[Expression]>),
        nulls: Option<u8>,
    ) -> Result<Keyed<'scope>, Failure> {
        let (key, values) =
            (Evaluate::new(key, &self.failed)?, values.map(|values| Evaluate::new(values, &self.failed)).transpose()?);
        let (input, whole) = (of.types.clone(), codec(&of.types)?);
        Ok(map(of.rows, "keyed", codec(&of.types)?, move |columns, diffs| {
            let rows = batch(&input, columns);
            let keys = key.keys(&rows, diffs, nulls);
            let values = match &values {
                Some(values) => values.rows(&rows, diffs),
                None => encoded(&whole, columns, rows.num_rows()),
            };
            Mapped { made: keys.into_iter().zip(values).collect(), of: None }
        }))
    }

    fn join(&self, of: &Join) -> Result<TypedRows<'scope>, Failure> {
        let (left, right) = (self.render(&of.left)?, self.render(&of.right)?);
        let nulls = Nulls { left: nulls(&left.types)?, right: nulls(&right.types)? };
        let kind = match of.kind {
            relation::JoinKind::Inner => JoinKind::Inner,
            relation::JoinKind::Left => JoinKind::Left,
            relation::JoinKind::Right => JoinKind::Right,
            relation::JoinKind::Full => JoinKind::Full,
            relation::JoinKind::Semi => JoinKind::Semi,
            relation::JoinKind::Anti => JoinKind::Anti,
        };
        let types = match kind {
            JoinKind::Semi | JoinKind::Anti => left.types.clone(),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                [left.types.clone(), right.types.clone()].concat()
            }
        };
        let mark = |number: u8| (!of.nulls_are_equal).then_some(number);
        let left = self.keyed(left, (&of.on.0, None), mark(1))?;
        let right = self.keyed(right, (&of.on.1, None), mark(2))?;
        Ok(TypedRows { rows: join(left, right, kind, nulls), types })
    }

    fn aggregate(
        &self,
        of: TypedRows<'scope>,
        (by, inputs): (&[Expression], &[Expression]),
        calls: &[Call],
    ) -> Result<TypedRows<'scope>, Failure> {
        let column = |(n, call): (usize, &Call)| {
            let known = find(call.name).ok_or_else(|| format!("unknown aggregate `{}`", call.name));
            let aggregate = known.and_then(|known| known.with(call.number)).map_err(Failure::Running)?;
            Ok(ColumnPlan { name: n.to_string(), aggregate, input: call.input, length: None })
        };
        let columns = calls.iter().enumerate().map(column).collect::<Result<Vec<_>, Failure>>()?;
        let plan = AggregatePlan { columns, inputs: types(inputs), is_whole: by.is_empty() };
        let types = types(by).into_iter().chain(result_types(&plan.columns, &plan.inputs)).collect();
        let keyed = self.keyed(of, (by, Some(inputs)), None)?;
        Ok(TypedRows { rows: aggregate(keyed, plan, self.unfit.clone()).map_err(failed)?, types })
    }

    fn top(&self, of: &Top) -> Result<TypedRows<'scope>, Failure> {
        let TypedRows { rows, mut types } = self.render(&of.of)?;
        let (parts, by) = (Evaluate::new(&of.parts, &self.failed)?, of.order.iter().map(|order| order.by.clone()));
        let by = Evaluate::new(&by.collect::<Vec<_>>(), &self.failed)?;
        let order = |order: &Order| (order.by.data_type().clone(), order.descending, order.nulls_first);
        let order = OrderCodec::new(&of.order.iter().map(order).collect::<Vec<_>>()).map_err(failed)?;
        let (input, whole) = (types.clone(), codec(&types)?);
        let keyed = map(rows, "placed", codec(&types)?, move |columns, diffs| {
            let rows = batch(&input, columns);
            let parts = parts.keys(&rows, diffs, None);
            let mut places = Vec::with_capacity(diffs.len());
            by.each(&rows, diffs, |columns, _| places.extend(order.encode(columns).expect("columns of its types")));
            let whole = encoded(&whole, columns, rows.num_rows());
            let placed = places.iter().zip(&whole).map(|(place, row)| placed(place, row));
            Mapped { made: parts.into_iter().zip(placed).collect(), of: None }
        });
        if of.numbered {
            types.push(DataType::UInt64);
        }
        Ok(TypedRows { rows: top(keyed, of.limit, of.numbered), types })
    }
}

/// Expressions over rows.
struct Evaluate {
    expressions: Vec<Expression>,
    codec: KeyCodec,
    failed: Failed,
}

impl Evaluate {
    fn new(expressions: &[Expression], failed: &Failed) -> Result<Evaluate, Failure> {
        Ok(Evaluate { expressions: expressions.to_vec(), codec: codec(&types(expressions))?, failed: failed.clone() })
    }

    /// The values of a few rows at a time, and of how many.
    fn each(&self, rows: &RecordBatch, diffs: &[isize], mut take: impl FnMut(&[ArrayRef], usize)) {
        for part in in_parts(rows.num_rows()) {
            let own = rows.slice(part.start, part.len());
            let evaluated: Vec<_> = self.expressions.iter().map(|one| one.evaluate(&own, &|_| None)).collect();
            let failed = evaluated.iter().filter_map(|one| one.failed.clone()).reduce(|a, b| &a | &b);
            count(&self.failed, failed.as_ref(), &diffs[part]);
            let columns: Vec<ArrayRef> = evaluated.into_iter().map(|one| one.values).collect();
            take(&columns, own.num_rows());
        }
    }

    /// By row, the bytes of the values.
    fn rows(&self, rows: &RecordBatch, diffs: &[isize]) -> Vec<Bytes> {
        let mut all = Vec::with_capacity(rows.num_rows());
        self.each(rows, diffs, |columns, rows| all.extend(encoded(&self.codec, columns, rows)));
        all
    }

    /// The same, told apart from other keys where there is a null.
    fn keys(&self, rows: &RecordBatch, diffs: &[isize], nulls: Option<u8>) -> Vec<Bytes> {
        let Some(mark) = nulls else { return self.rows(rows, diffs) };
        let mut all = Vec::with_capacity(rows.num_rows());
        self.each(rows, diffs, |columns, rows| {
            let mark = |row: usize| if columns.iter().any(|column| column.is_null(row)) { mark } else { 0 };
            let keys = encoded(&self.codec, columns, rows).into_iter().enumerate();
            all.extend(keys.map(|(row, key)| [vec![mark(row)], key].concat()));
        });
        all
    }
}

/// Rows that come and failed are counted.
fn count(failed: &Failed, rows: Option<&arrow::buffer::BooleanBuffer>, diffs: &[isize]) {
    let come = rows.map_or(0, |rows| rows.set_indices().filter(|row| diffs[*row] > 0).count());
    failed(come as u64);
}

fn types(expressions: &[Expression]) -> Vec<DataType> {
    expressions.iter().map(|expression| expression.data_type().clone()).collect()
}

/// Rows as expressions have them: columns are called by their places.
fn batch(types: &[DataType], columns: &[ArrayRef]) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(columns.first().map(|column| column.len()));
    RecordBatch::try_new_with_options(schema(types), columns.to_vec(), &options).expect("columns of these types")
}

fn schema(types: &[DataType]) -> SchemaRef {
    let fields = types.iter().enumerate().map(|(at, of)| Field::new(at.to_string(), of.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// By row, the bytes of some columns.
fn encoded(codec: &KeyCodec, columns: &[ArrayRef], rows: usize) -> Vec<Bytes> {
    if columns.is_empty() {
        return vec![vec![]; rows];
    }
    codec.encode(columns).expect("columns of its types").iter().flatten().map(<[u8]>::to_vec).collect()
}

/// The bytes of a row of nulls.
fn nulls(types: &[DataType]) -> Result<Bytes, Failure> {
    let columns: Vec<ArrayRef> = types.iter().map(|of| new_null_array(of, 1)).collect();
    Ok(encoded(&codec(types)?, &columns, 1).concat())
}

fn codec(types: &[DataType]) -> Result<KeyCodec, Failure> {
    KeyCodec::new(types).map_err(failed)
}

fn failed(error: ArrowError) -> Failure {
    Failure::Running(format!("rows of a view: {error}"))
}
