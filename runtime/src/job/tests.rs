//! Cases: `cases/NAME.toml` is a job file, `cases/NAME.txt` what is said of it. `UPDATE_CASES=1` writes the texts anew: then
//! read the difference.

use std::fmt::Write;
use std::path::Path;

use headwater_clocks::Time;

use super::parse::parse;
use super::{About, Changes, Group, Job, Key, LookIn, SeamBy, Source, Table, duration, validate};
use crate::base::fault::Fault;
use crate::base::id::{Id, SourceId};
use crate::base::secrets::mask;

fn env(name: &str) -> Option<String> {
    let table = [("PASSWORD", "hunter2"), ("EMPTY", ""), ("BUCKET", "lake-7781"), ("TOPIC", "transactions")];
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
}

#[test]
fn cases() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src/job/cases");
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = String::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let said = told(&name, &text);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            writeln!(wrong, "--- {name} gives\n{said}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    let said = || Job::from_file(&path).unwrap_err().to_string().replace(&path.display().to_string(), "job.toml");
    assert!(said().starts_with("job.toml: error: the job file cannot be read: "), "{}", said());
    std::fs::write(&path, b"name = \"a\"\n# \xc3\xa9\xff").unwrap();
    assert_eq!(said(), "job.toml:2:4: error: the job file must be UTF-8: this byte is not\n");
}

/// All at once: what is wrong, and what is not there. Paths start at the file's directory, whatever it is called.
#[test]
fn a_file() {
    let dir = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
    let path = dir.path().join("job.toml");
    let text = include_str!("cases/spec.toml");
    let text = text.replace("tick = \"10ms\"", "tick = \"10\"").replace("\".headwater/fraud\"", "\"s3://b/state\"");
    std::fs::write(&path, text).unwrap();
    let said = Job::from_file(&path).unwrap_err().to_string();
    assert_eq!(said.matches("error: ").count(), 3, "{said}");
    for part in ["job.toml:2:8: error: `tick`", "so say where dead letters go", "no file matches"] {
        assert!(said.contains(part), "{said}");
    }

    std::fs::write(&path, include_str!("cases/load.toml")).unwrap();
    let job = Job::from_file(&path).unwrap();
    assert_eq!(job.warnings.len(), 1, "{:?}", job.warnings);
    let history = job.sources[SourceId::at(0)].history.as_ref().unwrap();
    let escaped = dir.path().display().to_string().replace('[', "[[]").replace('*', "[*]");
    assert_eq!(history.config.path(), format!("{escaped}/data/*.parquet"));
    assert_eq!(job.state.local, dir.path().join(".headwater/load"));
}

#[test]
fn parsing_gives_warnings_with_the_job() {
    let parse = |text| parse("load.toml", Path::new("/job"), text, &env);
    let (job, warnings) = parse(include_str!("cases/load.toml")).unwrap();
    assert_eq!((job.name.as_str(), warnings.faults.len(), warnings.has_errors()), ("load", 1, false));
    assert!(parse("name = 1").unwrap_err().has_errors());
}

/// Whatever line is lost, cut short or doubled, a file is read to its end, and no place lies outside it.
#[test]
fn torn_files() {
    let text = include_str!("cases/spec.toml");
    let lines: Vec<&str> = text.lines().collect();
    for n in 0..lines.len() {
        for cut in 0..=lines[n].len() {
            let mut torn = lines.clone();
            torn[n] = &lines[n][..cut];
            let faults = validate::job("torn", Path::new("/job"), &torn.join("\n"), &env).1;
            let inside = |fault: &Fault| fault.at.line <= lines.len() && fault.at.column >= 1;
            assert!(faults.faults.iter().all(inside), "{faults}");
        }
        let mut doubled = lines.clone();
        doubled.insert(n, lines[n]);
        validate::job("doubled", Path::new("/job"), &doubled.join("\n"), &env);
    }
}

/// Every fault; without an error also what the job means.
fn told(file: &str, text: &str) -> String {
    let (job, mut faults) = validate::job(file, Path::new("/job"), text, &env);
    let mut told = String::new();
    faults.settle();
    let whole = !faults.has_errors();
    write!(told, "{faults}").unwrap();
    if whole {
        told += &meaning(&job);
    }
    let shown = format!("{told}{job:?}{job:#?}{:?}", job.sinks).replace("PASSWORD", "");
    assert!(!shown.contains("hunter2"), "{shown}");
    told
}

fn meaning(job: &Job) -> String {
    let (tick, stall, idle) = (job.tick.us(), job.stall_limit.us(), job.idle_limit.us());
    let mut text = format!("job {} tick {tick} stall {stall} idle {idle}\n", job.name);
    job.sources.iter().for_each(|source| text += &source_meaning(source));
    job.groups.iter().for_each(|group| text += &group_meaning(job, group));
    for view in &job.views {
        let key: Vec<&str> = view.key.iter().map(|key| key.text.as_str()).collect();
        writeln!(text, "view {} by {} {:?}", view.name, key.join(", "), view.of).unwrap();
    }
    for sink in &job.sinks {
        let groups: Vec<u32> = sink.rows.iter().map(|group| group.number()).collect();
        writeln!(text, "sink {}: {:?} groups {groups:?}", sink.name, sink.to).unwrap();
    }
    writeln!(text, "dead letters: {:?}", job.dead_letters).unwrap();
    let state = &job.state;
    let (path, local, every) = (&state.path, state.local.display(), state.checkpoint_every.us());
    writeln!(text, "state: {path} local {local} every {every}").unwrap();
    if let Some(keep) = state.admissions_keep {
        writeln!(text, "admissions for {}", keep.us()).unwrap();
    }
    if let Some(log) = &job.serve_log {
        writeln!(text, "serve log: {} sample {} every {:?}", log.path, log.sample, log.roll_every).unwrap();
    }
    mask(&text, &job.secrets)
}

fn source_meaning(source: &Source) -> String {
    let kind = if source.table.is_some() { "table" } else { "source" };
    let event = source.event_time.as_ref().map_or(String::new(), |event| format!(" event {}", event.text));
    let mut text = format!("{kind} {}{event}", source.name);
    if let Some(arrival) = &source.arrival_time {
        write!(text, " arrival {}", arrival.text).unwrap();
    }
    let (lateness, limit, unit) = (source.lateness.us(), source.future_limit.us(), source.time_unit);
    writeln!(text, " lateness {lateness} future {limit} unit {unit:?}").unwrap();
    for (name, ty) in source.schema.iter().flatten() {
        writeln!(text, "  {}: {ty}", name.text).unwrap();
    }
    if let Some(history) = &source.history {
        writeln!(text, "  history {:?} until {:?}", history.config, history.complete_until.map(Time::us)).unwrap();
    }
    if let Some(stream) = &source.stream {
        writeln!(text, "  stream {:?}", stream.config).unwrap();
    }
    let by = match &source.seam.by {
        SeamBy::Offset { partition, offset } => format!("offset {} {}", partition.text, offset.text),
        SeamBy::Time => "time".into(),
        SeamBy::Id { id, overlap } => format!("id {} overlap {}", id.text, overlap.us()),
    };
    writeln!(text, "  seam by {by} allow_gap {}", source.seam.allow_gap).unwrap();
    if let Some(table) = &source.table {
        let key: Vec<&str> = table.key.iter().map(|key| key.text.as_str()).collect();
        let deleted = table.deleted.as_ref().map_or("", |deleted| &deleted.text);
        writeln!(text, "  key {} deleted `{deleted}`{}", key.join(", "), changes(table)).unwrap();
    }
    if let Some(replaced) = &source.replaced {
        let key: Vec<&str> = replaced.key.iter().map(|key| key.text.as_str()).collect();
        let deleted = replaced.deleted.as_ref().map_or("", |deleted| &deleted.text);
        writeln!(text, "  primary key {} deleted `{deleted}`{}", key.join(", "), changes(replaced)).unwrap();
    }
    text
}

fn changes(rows: &Table) -> &'static str {
    if rows.changes == Changes::Debezium { " of envelopes" } else { "" }
}

fn group_meaning(job: &Job, group: &Group) -> String {
    let key = |key: &Key| match key.is_sql {
        true => format!("{} = {}", key.name, key.of.text),
        false => key.of.text.clone(),
    };
    let keys: Vec<String> = group.key.iter().map(key).collect();
    let sources: Vec<&str> = group.sources.iter().map(|source| job.sources[*source].name.as_str()).collect();
    let source = sources.join(" and ");
    let mut text = format!("group {} of {source} by {} {:?}", group.name, keys.join(", "), group.window);
    writeln!(text, " retain {}", group.retain.us()).unwrap();
    if let Some(list) = &group.explode {
        writeln!(text, "  each of {}", list.text).unwrap();
    }
    for lookup in &group.lookups {
        let on: Vec<&str> = lookup.on.iter().map(|on| on.text.as_str()).collect();
        let of = match lookup.of {
            LookIn::Table(table) => &job.sources[table].name,
            LookIn::Features(group) => &job.groups[group].name,
        };
        writeln!(text, "  lookup {} in {of} on {}", lookup.name, on.join(", ")).unwrap();
    }
    if let Some(filter) = &group.filter {
        writeln!(text, "  where {}", filter.text).unwrap();
    }
    for column in &group.columns {
        let of = column.of.as_ref().map_or("", |of| &of.text);
        let length = column.length.map_or("all".into(), duration::display);
        let filter = column.filter.as_ref().map_or(String::new(), |filter| format!(" where `{}`", filter.text));
        let about = about(&column.about);
        writeln!(text, "  {} {} of `{of}`{filter} over {length}{about}", column.name, column.agg).unwrap();
    }
    for column in &group.derived {
        writeln!(text, "  {} = {}{}", column.name, column.of.text, about(&column.about)).unwrap();
    }
    text
}

fn about(About { description, owner, tags }: &About) -> String {
    let said = [description, owner].into_iter().flatten().cloned().chain(tags.iter().map(|tag| format!("#{tag}")));
    said.map(|said| format!("; {said}")).collect()
}
