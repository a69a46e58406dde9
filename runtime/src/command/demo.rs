//! `headwater demo`

use std::path::PathBuf;

use crate::base::failure::Failure;
use crate::demo::{self, Options};

const CARDS: u32 = 20_000;

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where the demo keeps what it makes; made anew at each start
    #[arg(long, default_value = ".headwater/demo")]
    dir: PathBuf,
    /// Payments of the history
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Live payments a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    rate: u64,
    /// Only write the history and produce live payments to this Kafka, for examples/fraud/job.toml, until Ctrl-C
    #[arg(long, value_name = "HOST:PORT")]
    feed: Option<String>,
}

pub fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let (dir, feed) = (args.dir.clone(), args.feed.clone());
    demo::run(&Options { dir, events: args.events, cards: CARDS, rate: args.rate, feed })
}
