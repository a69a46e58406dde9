//! A job, opened: schemas known, expressions compiled, types checked. What is wrong is told with its place in the job file.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_connectors::Wanted;
use headwater_connectors::history::{History, Pinned, jsonl, parquet};
use headwater_connectors::sink::GroupShape;
use headwater_connectors::sink::lines::LineTopic;
use headwater_connectors::stream::Stream;
use headwater_connectors::stream::jsonl::JsonlStream;
use headwater_connectors::stream::kafka::{KafkaConfig, KafkaStream};
use headwater_operators::accumulators::{Aggregate, ColumnPlan};
use headwater_operators::aggregate::spread::Spread;
use headwater_operators::changes;
use headwater_operators::expression::Expression;

use crate::failure::Failure;
use crate::job::validate::types;
use crate::job::{self, Agg, At, ChangesTo, Faults, FileKind, Group, Job, Named, SeamBy, SinkTo, Window};
use crate::plan::Plan;

pub struct Opened {
    pub job: Job,
    pub sources: Vec<Source>,
    pub groups: Vec<OpenGroup>,
}

impl Opened {
    /// Whether anything is followed.
    pub fn has_stream(&self) -> bool {
        self.job.sources.iter().any(|source| source.stream.is_some())
    }
}

pub struct Source {
    pub history: Option<Arc<dyn History>>,
    pub stream: Option<Arc<dyn Stream>>,
    /// Every column.
    pub schema: SchemaRef,
    /// The columns that the job uses: of stream records; and of history rows, which have the seam's columns at the end.
    pub wanted: Wanted,
    pub history_wanted: Wanted,
    /// Places in `wanted`.
    pub event_time: usize,
    pub arrival_time: Option<usize>,
    /// A seam by offset: the places of partition and offset in `history_wanted`.
    pub seam_columns: Option<(usize, usize)>,
    /// A seam by id: its place in `wanted`.
    pub id_column: Option<usize>,
}

impl Source {
    /// Places of the columns, besides its times, without which a record of the stream is malformed.
    pub fn stream_own(&self) -> Vec<usize> {
        self.id_column.into_iter().collect()
    }

    /// The same of a row of the history.
    pub fn history_own(&self) -> Vec<usize> {
        self.seam_columns.into_iter().flat_map(|(p, o)| [p, o]).chain(self.id_column).collect()
    }
}

pub struct OpenGroup {
    pub filter: Option<Expression>,
    /// Places of the key columns in the source's `wanted`.
    pub keys: Vec<usize>,
    pub key_types: Vec<DataType>,
    /// Each distinct `of`.
    pub inputs: Vec<Expression>,
    pub columns: Vec<ColumnPlan>,
    pub shape: GroupShape,
}

/// Whether streams are opened too, or only what says how rows look.
#[derive(Clone, Copy, PartialEq)]
enum Streams {
    Open,
    Skip,
}

/// Opens sources, and checks every name and type against them. `plan`: says which files of histories were pinned before.
pub fn open(job: Job, plan: Option<&Plan>) -> Result<Opened, Failure> {
    open_with(job, plan, Streams::Open)
}

/// Opens a job whose rows are read and whose events are not: its streams may be away.
pub fn open_for_rows(job: Job) -> Result<Opened, Failure> {
    open_with(job, None, Streams::Skip)
}

fn open_with(job: Job, plan: Option<&Plan>, streams: Streams) -> Result<Opened, Failure> {
    let mut faults = Faults { file: job.file.display().to_string(), ..Faults::default() };
    let mut sources = Vec::new();
    for (i, source) in job.sources.iter().enumerate() {
        let by_id = matches!(source.seam.by, SeamBy::Id { .. });
        let pinned = plan.and_then(|plan| plan.pinned(i, by_id));
        sources.push(open_source(source, pinned, streams, &mut faults)?);
    }
    for sink in &job.sinks {
        if let SinkTo::Redis { url } = &sink.to
            && let Err(e) = headwater_connectors::sink::redis::check_url(url)
        {
            faults.error(sink.at, e.to_string());
        }
    }
    if streams == Streams::Open {
        check_topics(&job, &mut faults)?;
    }
    let schemas: Vec<Option<SchemaRef>> = sources.iter().map(|s| s.as_ref().map(|s| s.2.clone())).collect();
    let named = job::validate::check_names(&job, &schemas);
    let names_fit = !named.has_errors();
    faults.faults.extend(named.faults);
    let compiled: Vec<Option<Compiled>> =
        job.groups.iter().map(|g| schemas[g.source].as_ref().and_then(|s| compile(g, s, &mut faults))).collect();
    if faults.has_errors() || !names_fit {
        return Err(Failure::Job(faults));
    }
    let compiled: Vec<Compiled> = compiled.into_iter().flatten().collect();
    let mut opened = Vec::new();
    for (i, (history, stream, schema)) in sources.into_iter().flatten().enumerate() {
        let groups = job.groups.iter().zip(&compiled).filter(|(g, _)| g.source == i);
        opened.push(project(&job.sources[i], history, stream, schema, groups));
    }
    let groups = job.groups.iter().zip(compiled).map(|(g, c)| open_group(g, c, &opened[g.source])).collect();
    Ok(Opened { job, sources: opened, groups })
}

/// What else is wrong with a job that is wrong already: names and expressions, where schemas can be had all the same.
pub fn more_faults(job: &Job) -> Faults {
    let mut faults = Faults::new(job.file.display().to_string());
    let schemas: Vec<_> = job.sources.iter().map(|source| look_at_schema(source, &mut faults)).collect();
    faults.faults.extend(job::validate::check_names(job, &schemas).faults);
    for group in &job.groups {
        if let Some(schema) = &schemas[group.source] {
            let mut whole = group.clone();
            let written = |text: &Named| !text.text.is_empty();
            whole.filter = whole.filter.filter(written);
            // Others have been told as missing their input.
            whole.columns.retain(|c| c.of.as_ref().map_or(c.agg == Agg::Count, written));
            compile(&whole, schema, &mut faults);
        }
    }
    faults
}

fn look_at_schema(source: &job::Source, faults: &mut Faults) -> Option<SchemaRef> {
    match source.history.as_ref().filter(|h| h.kind == FileKind::Parquet && !h.path.is_empty()) {
        Some(h) => match parquet::open(&h.path, None) {
            Ok(history) => history.schema(),
            Err(headwater_connectors::Error::Config(message)) => {
                faults.error(h.at, message);
                None
            }
            // The world's fault, and not what is to be told now.
            Err(_) => None,
        },
        None => source.schema.as_ref().map(|columns| written_schema(columns)),
    }
}

fn written_schema(columns: &[(Named, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(Named, DataType)| Field::new(&name.text, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

type Parts = (Option<Arc<dyn History>>, Option<Arc<dyn Stream>>, SchemaRef);

/// `None`: it could not be opened, and a fault says why.
fn open_source(
    source: &job::Source,
    pinned: Option<&Pinned>,
    streams: Streams,
    faults: &mut Faults,
) -> Result<Option<Parts>, Failure> {
    let mut ok = true;
    let history = match &source.history {
        None => None,
        Some(h) => told(open_history(h, pinned), h.at, faults, &mut ok)?,
    };
    let stream = match source.stream.as_ref().filter(|_| streams == Streams::Open) {
        None => None,
        Some(job::Stream::Jsonl { at, path, first_offset }) => {
            let opened = JsonlStream::open(path, *first_offset).map(|s| Arc::new(s) as Arc<dyn Stream>);
            told(opened, *at, faults, &mut ok)?
        }
        Some(job::Stream::Kafka { at, kafka }) => {
            let opened = KafkaStream::open(kafka_config(kafka)).map(|s| Arc::new(s) as Arc<dyn Stream>);
            told(opened, *at, faults, &mut ok)?
        }
    };
    if !ok {
        return Ok(None);
    }
    let of_files = history.as_ref().and_then(|h| h.schema());
    let schema = of_files.unwrap_or_else(|| written_schema(source.schema.as_deref().unwrap_or_default()));
    Ok(Some((history, stream, schema)))
}

fn open_history(history: &job::History, pinned: Option<&Pinned>) -> headwater_connectors::Result<Arc<dyn History>> {
    match history.kind {
        FileKind::Parquet => parquet::open(&history.path, pinned).map(|h| Arc::new(h) as Arc<dyn History>),
        FileKind::Jsonl => jsonl::open(&history.path, pinned).map(|h| Arc::new(h) as Arc<dyn History>),
    }
}

/// A source's history as it was pinned once.
pub fn history(source: &job::Source, pinned: Option<&Pinned>) -> Result<Arc<dyn History>, Failure> {
    let history = source.history.as_ref().ok_or_else(|| {
        Failure::Running(format!("source {} has no history any more: its ids cannot be compared", source.name))
    })?;
    Ok(open_history(history, pinned)?)
}

/// Bytes of records that the queues of one reader or writer may hold.
const KAFKA_BUDGET_BYTES: usize = 64 << 20;

pub fn kafka_config(kafka: &job::Kafka) -> KafkaConfig {
    KafkaConfig {
        brokers: kafka.brokers.clone(),
        topic: kafka.topic.clone(),
        properties: kafka.properties.clone(),
        budget_bytes: KAFKA_BUDGET_BYTES,
    }
}

/// Finds the topics that changelogs and dead letters go to.
fn check_topics(job: &Job, faults: &mut Faults) -> Result<(), Failure> {
    let changelogs = job.sinks.iter().filter_map(|sink| match &sink.to {
        SinkTo::Changes(to) => Some((to, sink.at)),
        SinkTo::Redis { .. } | SinkTo::Embedded => None,
    });
    for (to, at) in changelogs.chain([(&job.dead_letters, job.dead_letters_at)]) {
        if let ChangesTo::Kafka(kafka) = to {
            told(LineTopic::check(&kafka_config(kafka)), at, faults, &mut true)?;
        }
    }
    Ok(())
}

/// What is the user's fault becomes a fault of the job file; the rest ends the command.
fn told<T>(
    result: headwater_connectors::Result<T>,
    at: At,
    faults: &mut Faults,
    ok: &mut bool,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(headwater_connectors::Error::Config(message)) => {
            faults.error(at, message);
            *ok = false;
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

struct Compiled {
    filter: Option<Expression>,
    inputs: Vec<Expression>,
    columns: Vec<ColumnPlan>,
    results: Vec<DataType>,
}

/// `None`: there are faults.
fn compile(group: &Group, schema: &SchemaRef, faults: &mut Faults) -> Option<Compiled> {
    let mut fine = true;
    let mut compile = |text: &Named, faults: &mut Faults| match Expression::compile(&text.text, schema) {
        Ok(expression) => Some(expression),
        Err(e) => {
            faults.error(text.at, e.message);
            fine = false;
            None
        }
    };
    let filter = group.filter.as_ref().and_then(|f| compile(f, faults));
    let mut texts: Vec<&str> = vec![];
    let mut inputs: Vec<Option<Expression>> = vec![];
    let mut columns = vec![];
    for column in &group.columns {
        let input = column.of.as_ref().map(|of| {
            texts.iter().position(|t| *t == of.text).unwrap_or_else(|| {
                inputs.push(compile(of, faults));
                texts.push(&of.text);
                texts.len() - 1
            })
        });
        columns.push(ColumnPlan {
            name: column.name.clone(),
            aggregate: aggregate(column.agg),
            input,
            length: column.length_us,
        });
    }
    if let (Some(text), Some(filter)) = (&group.filter, &filter)
        && *filter.data_type() != DataType::Boolean
    {
        faults
            .error(text.at, format!("`where` must be true or false, this is a {}", types::display(filter.data_type())));
        fine = false;
    }
    let mut results = vec![];
    for (column, plan) in group.columns.iter().zip(&columns) {
        let input = plan.input.map(|i| inputs[i].as_ref());
        if let Some(None) = input {
            continue;
        }
        let input = input.flatten().map(Expression::data_type);
        match plan.aggregate.result(input) {
            Some(result) => results.push(result),
            None => {
                let of = column.of.as_ref().map_or(column.at, |of| of.at);
                let data_type = input.map(types::display).unwrap_or_default();
                faults.error(of, format!("{} needs a number, this is a {data_type}", column.agg.name()));
                fine = false;
            }
        }
    }
    let inputs: Option<Vec<Expression>> = inputs.into_iter().collect();
    if fine { Some(Compiled { filter, inputs: inputs?, columns, results }) } else { None }
}

fn aggregate(agg: Agg) -> Aggregate {
    match agg {
        Agg::Count => Aggregate::Count,
        Agg::Sum => Aggregate::Sum,
        Agg::Avg => Aggregate::Avg,
        Agg::Min => Aggregate::Min,
        Agg::Max => Aggregate::Max,
        Agg::VarPop => Aggregate::Spread(Spread::VarPop),
        Agg::VarSamp => Aggregate::Spread(Spread::VarSamp),
        Agg::StddevPop => Aggregate::Spread(Spread::StddevPop),
        Agg::StddevSamp => Aggregate::Spread(Spread::StddevSamp),
        Agg::First => Aggregate::First,
        Agg::Last => Aggregate::Last,
        Agg::CountDistinct => Aggregate::CountDistinct,
        Agg::TopK { k } => Aggregate::TopK(k),
        Agg::LastN { n } => Aggregate::LastN(n),
        Agg::ApproxCountDistinct => Aggregate::ApproxCountDistinct,
        Agg::ApproxPercentile { p } => Aggregate::ApproxPercentile(p),
    }
}

/// Which columns are read at all.
fn project<'a>(
    source: &job::Source,
    history: Option<Arc<dyn History>>,
    stream: Option<Arc<dyn Stream>>,
    schema: SchemaRef,
    groups: impl Iterator<Item = (&'a Group, &'a Compiled)>,
) -> Source {
    let mut names: Vec<String> = vec![source.event_time.text.clone()];
    let mut place = |name: &str| {
        names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    };
    let arrival_time = source.arrival_time.as_ref().map(|a| place(&a.text));
    let id_column = if let SeamBy::Id { id, .. } = &source.seam.by { Some(place(&id.text)) } else { None };
    for (group, compiled) in groups {
        group.key.iter().for_each(|k| _ = place(&k.text));
        let expressions = compiled.filter.iter().chain(&compiled.inputs);
        expressions.flat_map(Expression::columns).for_each(|c| _ = place(c));
    }
    let of_stream = names.len();
    let mut place = |name: &str| {
        names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    };
    let seam_columns = match &source.seam.by {
        SeamBy::Offset { partition, offset } if history.is_some() => {
            Some((place(&partition.text), place(&offset.text)))
        }
        _ => None,
    };
    let time_unit_ns = unit_ns(source.time_unit);
    let wanted = |names: &[String]| {
        let field = |n: &String| schema.field_with_name(n).expect("names were checked").clone().with_nullable(true);
        Wanted { schema: Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>())), time_unit_ns }
    };
    let (wanted, history_wanted) = (wanted(&names[..of_stream]), wanted(&names));
    Source {
        history,
        stream,
        schema: schema.clone(),
        wanted,
        history_wanted,
        event_time: 0,
        arrival_time,
        seam_columns,
        id_column,
    }
}

pub fn unit_ns(unit: job::TimeUnit) -> i64 {
    match unit {
        job::TimeUnit::Second => 1_000_000_000,
        job::TimeUnit::Millisecond => 1_000_000,
        job::TimeUnit::Microsecond => 1_000,
        job::TimeUnit::Nanosecond => 1,
    }
}

fn open_group(group: &Group, compiled: Compiled, source: &Source) -> OpenGroup {
    let keys: Vec<usize> =
        group.key.iter().map(|k| source.wanted.schema.index_of(&k.text).expect("names were checked")).collect();
    let key_types: Vec<DataType> = keys.iter().map(|k| source.wanted.schema.field(*k).data_type().clone()).collect();
    let key_fields: Vec<_> = group.key.iter().map(|k| k.text.clone()).zip(key_types.iter().cloned()).collect();
    let columns: Vec<_> = compiled.columns.iter().map(|c| c.name.clone()).zip(compiled.results).collect();
    let windowed = group.window != Window::Trailing;
    let schema = changes::schema(&key_fields, windowed, &columns);
    let shape = GroupShape { name: group.name.clone(), keys: keys.len(), windowed, schema };
    let Compiled { filter, inputs, columns, .. } = compiled;
    OpenGroup { filter, keys, key_types, inputs, columns, shape }
}
