//! The stores of a run: taken over from the start before, then opened for each worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_connectors::sink::embedded::Embedded;
use headwater_connectors::sink::redis::{self, Redis, RedisGroup};
use headwater_connectors::sink::{GroupShape, Marks, Store};

use crate::base::failure::Failure;
use crate::job::{self, Group, Job, SinkTo, Window};
use crate::plan::Plan;

/// A sink that was taken over from an earlier start.
#[derive(Default)]
pub struct Claimed {
    pub generation: u64,
    /// By group: what is in it.
    pub marks: Vec<Marks>,
    pub store: Option<Embedded>,
    /// It has an image of what the job is now.
    pub is_whole: bool,
}

/// `meaning`: of the sink's rows; `held`: the store, if this process has it open.
pub fn claim(
    (job, sink): (&Job, &job::Sink),
    (shapes, meaning): (&[GroupShape], i64),
    generation: u64,
    held: Option<&Embedded>,
) -> Result<Claimed, Failure> {
    match &sink.to {
        SinkTo::Changes(_) => Ok(Claimed::default()),
        SinkTo::Embedded => {
            let mut store = held.map_or_else(|| Embedded::open(&embedded_path(job), shapes), Embedded::again)?;
            let is_whole = store.is_whole(meaning)?;
            let marks = sink.groups.iter().map(|g| store.marks(*g)).collect::<Result<_, _>>()?;
            Ok(Claimed { generation: 0, marks, store: Some(store), is_whole })
        }
        SinkTo::Redis { url } => {
            // One more than the state's before this start.
            let generation = redis::claim(url, &job.name, generation.checked_sub(1))?;
            let name = |g: &usize| &shapes[*g].name;
            let marks = sink.groups.iter().map(|g| redis::marks(url, &job.name, name(g))).collect::<Result<_, _>>()?;
            Ok(Claimed { generation, marks, ..Claimed::default() })
        }
    }
}

pub fn open_store(
    job: &Job,
    shapes: &[GroupShape],
    plan: &Plan,
    embedded: &[Option<Embedded>],
    sink: usize,
    stop: &Arc<AtomicBool>,
) -> Result<Box<dyn Store>, Failure> {
    match (&job.sinks[sink].to, &embedded[sink]) {
        (SinkTo::Embedded, Some(store)) => Ok(Box::new(store.clone())),
        (SinkTo::Redis { url }, _) => {
            let groups = redis_groups(job, shapes);
            Ok(Box::new(Redis::open(url, &job.name, &groups, plan.generations[sink], stop.clone())?))
        }
        _ => unreachable!("only stores are opened"),
    }
}

/// The groups as a Redis sink of theirs is told of them. Its groups are those of the job, whichever it lists.
pub fn redis_groups(job: &Job, shapes: &[GroupShape]) -> Vec<RedisGroup> {
    let size = |window| match window {
        Window::Tumbling { size_us } | Window::Hopping { size_us, .. } => Some(size_us),
        Window::Trailing | Window::Session { .. } => None,
    };
    let group = |(group, shape): (&Group, &GroupShape)| RedisGroup {
        shape: shape.clone(),
        retain_us: group.retain_us,
        size_us: size(group.window),
    };
    job.groups.iter().zip(shapes).map(group).collect()
}

pub fn embedded_path(job: &Job) -> PathBuf {
    job.state.embedded.clone()
}
