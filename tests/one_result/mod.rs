//! One result: the same log gives the same rows at every tick from the seam on, wherever history and stream meet, and
//! however many workers read it: those of a model that makes every row anew from all events.
//!
//! ```text
//! log        p0  . . . . | . .         every vector of cuts along an order in which the records may have come:
//!            p1  . . | . . . . .       before it the history (Parquet, JSON lines or CSV), the whole log in the stream
//! compared   the changelog, every row of every group at the end, the dead letters
//! ```

mod case;
pub mod files;
pub mod model;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::case::{Case, Style};
use self::files::{Format, Way, run};
use self::model::{Log, Output, output};

const CASES: u64 = 24;
const LANES: usize = 8;

fn assert_same(found: &Output, expected: &Output, case: &Case, log: &Log, way: &Way, about: &str) {
    let differs = |what: &str, found: &[String], expected: &[String]| {
        let at = (0..found.len().max(expected.len())).find(|i| found.get(*i) != expected.get(*i));
        if let Some(at) = at {
            let show = |lines: &[String]| {
                lines[at.min(lines.len())..].iter().take(3).cloned().collect::<Vec<_>>().join("\n    ")
            };
            let events: String = log.iter().flatten().take(100).map(|event| format!("{event:?}\n")).collect();
            panic!(
                "{about}, {way:?}: {what} differ at line {at}\n  found\n    {}\n  expected\n    {}\n{}\n{events}",
                show(found),
                show(expected),
                files::job_text(&case.job, way, 0),
            );
        }
    };
    differs("changes", &found.changes, &expected.changes);
    for (group, rows) in case.job.groups.iter().zip(found.rows.iter().zip(&expected.rows)) {
        differs(&format!("rows of {}", group.name), rows.0, rows.1);
    }
    let show = |output: &Output| output.dead_letters.iter().map(|letter| format!("{letter:?}")).collect::<Vec<_>>();
    differs("dead letters", &show(found), &show(expected));
}

fn check(style: Style) {
    // A run waits for disks and threads more than it computes.
    let counts = std::thread::scope(|scope| {
        let check = |seed| {
            let case = Case::random(style, 6..28, 3, seed);
            check_case(&case, &case.cuts(), seed, &format!("{style:?}, seed {seed}"))
        };
        let lane = |lane| scope.spawn(move || (lane..CASES).step_by(LANES).map(check).collect::<Vec<_>>());
        let lanes: Vec<_> = (0..LANES as u64).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let (lines, dead_letters) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(
        lines > 1000 && dead_letters > 20,
        "there is something to compare: {lines} lines, {dead_letters} dead letters"
    );
}

/// How many lines and dead letters were compared.
fn check_case(case: &Case, cuts: &[Vec<usize>], seed: u64, about: &str) -> (usize, usize) {
    let (mut lines, mut dead_letters) = (0, 0);
    let mut rng = StdRng::seed_from_u64(seed);
    let nothing = vec![0; case.log.len()];
    let stream = |stream, workers| Way { cuts: None, history: Format::Jsonl, stream, files: 0, lost: false, workers };
    let whole = output(&case.job, &case.log, &nothing);
    for (format, workers) in [(Format::Jsonl, 1), (Format::Csv, 3)] {
        let way = stream(format, workers);
        assert_same(&run(&case.job, &case.log, &way), &whole, case, &case.log, &way, about);
    }
    for cuts in cuts {
        let expected = output(&case.job, &case.log, cuts);
        let way = Way {
            cuts: Some(cuts.clone()),
            history: [Format::Parquet, Format::Jsonl, Format::Csv][rng.random_range(0..3)],
            stream: [Format::Jsonl, Format::Csv][rng.random_range(0..2)],
            files: rng.random_range(1..=3),
            lost: rng.random(),
            workers: if rng.random() { 1 } else { 3 },
        };
        let found = run(&case.job, &case.log, &way);
        assert_same(&found, &expected, case, &case.log, &way, about);
        (lines, dead_letters) = (lines + found.changes.len(), dead_letters + found.dead_letters.len());
    }
    let parted = case.parted_anew(&mut rng);
    let way = stream(Format::Jsonl, 2);
    let found = run(&case.job, &parted, &way);
    assert_eq!(found.changes, whole.changes, "{about}: the same events and effective times in other partitions");
    assert_eq!(found.rows, whole.rows, "{about}: the same events and effective times in other partitions");
    (lines, dead_letters)
}

#[test]
fn natural() {
    check(Style::Natural);
}

#[test]
fn extreme() {
    check(Style::Extreme);
}

#[test]
fn ties() {
    check(Style::Ties);
}

/// Logs that are read in many pieces, by partitions that are pieces apart.
#[test]
fn long() {
    for (style, seed) in [(Style::Natural, 1), (Style::Extreme, 2)] {
        let mut cases = (seed..).map(|seed| Case::random(style, 20_000..20_001, 300, seed));
        let case = cases.find(|case| case.job.groups.len() == 4).unwrap();
        let cuts = case.cuts();
        let some: Vec<_> = [0, 1, 7_000, 15_000, 20_000].iter().map(|at| cuts[*at].clone()).collect();
        let (lines, dead_letters) = check_case(&case, &some, seed, &format!("{style:?}, long"));
        assert!(
            lines > 10_000 && dead_letters > 1000,
            "there is something to compare: {lines} lines, {dead_letters} dead letters"
        );
    }
}
