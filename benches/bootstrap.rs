//! The bootstrap: 10M rows of 100k cards, 12 columns over four windows, into the embedded store, on 2 workers.
//! Floor: reading the same columns of the same files with the parquet crate alone, on 2 threads.

mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headwater::{Job, Options};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const CARDS: u32 = 100_000;

fn main() {
    let rows = support::scale(10_000_000);
    let dir = tempfile::tempdir().unwrap();
    support::history(&dir.path().join("history"), rows, CARDS);
    let job = support::write_job(
        dir.path(),
        &format!(
            "name = \"bootstrap\"\n[sources.tx]\nevent_time = \"ts\"\n[sources.tx.history]\ntype = \"parquet\"\npath = \"history/*.parquet\"\n{}",
            support::FEATURES
        ),
    );
    println!("bootstrap: {rows} rows of {CARDS} cards, 12 columns");
    let (mut floors, mut runs, mut firsts) = (vec![], vec![], vec![]);
    for _ in 0..support::rounds() {
        let (read, floor) = support::timed(|| read_all(&dir.path().join("history")));
        assert_eq!(read, rows);
        floors.push(floor);
        let start = Instant::now();
        let mut planned = start.elapsed();
        let options = Options { until_end: true, fresh: true, workers: 2, ..Options::default() };
        let run = headwater::run(Job::from_file(&job).unwrap(), options).unwrap();
        while run.status().is_none() && !run.is_finished() {
            planned = start.elapsed();
            std::thread::sleep(Duration::from_millis(1));
        }
        let status = run.wait().unwrap();
        assert_eq!(status.groups[0].counts.events, rows as u64);
        runs.push(start.elapsed());
        firsts.push(planned);
    }
    let floor = support::median(floors);
    support::line("floor: the parquet crate, 2 threads", rows, floor, None);
    support::line("of the run: first pass and opening", rows, support::median(firsts), None);
    support::line("run: first byte to every row stored", rows, support::median(runs), Some(floor));
}

/// Reads the columns that the job uses.
fn read_all(dir: &Path) -> usize {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let (next, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
                    let mask = ProjectionMask::columns(builder.parquet_schema(), ["ts", "card_id", "amount"]);
                    for batch in builder.with_projection(mask).with_batch_size(8192).build().unwrap() {
                        rows.fetch_add(batch.unwrap().num_rows(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    rows.into_inner()
}
