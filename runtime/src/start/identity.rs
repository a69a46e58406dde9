//! What a state is of: two texts are equal where one state means the same to both. Names, brokers, paths and properties do not
//! count.

use std::fmt::Write;

use arrow::datatypes::Schema;

use crate::catalog::opened::{Opened, Source};
use crate::job::{self, SeamBy, Stream, Window};

/// What the engine makes of a job. Another number: old states mean something else.
const SEMANTICS: u32 = 1;

/// Of a source's records and their times.
pub fn of_source(conf: &job::Source, open: &Source) -> String {
    let topic = conf.stream.as_ref().map(|stream| match stream {
        Stream::Kafka { kafka, .. } => kafka.topic.as_str(),
        Stream::Jsonl { .. } => "jsonl",
    });
    let seam = match &conf.seam.by {
        SeamBy::Offset { .. } => "offset",
        SeamBy::Time => "time",
        SeamBy::Id { .. } => "id",
    };
    let mut text = format!(
        "topic {topic:?} lateness {} future {} unit {:?} seam {seam} times",
        conf.lateness_us, conf.future_limit_us, conf.time_unit
    );
    let arrival = conf.arrival_time.iter();
    add_types(&mut text, &open.schema, std::iter::once(&conf.event_time).chain(arrival).map(|name| name.text.as_str()));
    text
}

/// Of a group, whatever its columns.
pub fn of_group(opened: &Opened, number: usize) -> String {
    let group = &opened.job.groups[number];
    let (conf, open) = (&opened.job.sources[group.source], &opened.sources[group.source]);
    let filter = group.filter.as_ref().map(|filter| filter.text.as_str());
    let mut text = format!("semantics {SEMANTICS} tick {} {}", opened.job.tick_us, of_source(conf, open));
    // Writing to memory does not fail.
    let _ = write!(text, " window {:?} where {filter:?} key", group.window);
    add_types(&mut text, &open.schema, group.key.iter().map(|key| key.text.as_str()));
    let compiled = &opened.groups[number].filter;
    add_types(&mut text, &open.schema, compiled.iter().flat_map(|filter| filter.columns()).map(String::as_str));
    text
}

/// Of a group's column.
pub fn of_column(opened: &Opened, group: usize, column: usize) -> String {
    let (conf, open) = (&opened.job.groups[group], &opened.groups[group]);
    let (column, plan) = (&conf.columns[column], &open.columns[column]);
    let of = column.of.as_ref().map(|of| of.text.as_str());
    let length = if conf.window == Window::Trailing { column.length_us } else { None };
    let mut text = format!("{} of {of:?} over {length:?}", column.agg.identity());
    if let Some(input) = plan.input.map(|input| &open.inputs[input]) {
        let _ = write!(text, " {}", input.data_type());
        add_types(&mut text, &opened.sources[conf.source].schema, input.columns().iter().map(String::as_str));
    }
    text
}

fn add_types<'a>(text: &mut String, schema: &Schema, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let data_type = schema.field_with_name(name).map(|field| field.data_type().to_string());
        let _ = write!(text, " {name} {}", data_type.unwrap_or_default());
    }
}
