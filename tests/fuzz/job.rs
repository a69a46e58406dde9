//! Job files: read, validated, and told what is wrong with them.

use super::Target;

pub(super) struct JobFile;

impl Target for JobFile {
    fn name(&self) -> &'static str {
        "job"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let examples = [
            "name = \"a\"\ntick = \"1s\"\nstall_limit = \"5s\"\n[sources.tx]\nevent_time = \"ts\"\narrival_time = \"at\"\nlateness = \"1h30m\"\n\
             schema = { ts = \"timestamp\", at = \"timestamp\", k = \"string\", x = \"decimal128(18, 2)\" }\n[sources.tx.stream]\n\
             type = \"jsonl\"\npath = \"in/*.jsonl\"\n[features.g]\nsource = \"tx\"\nkey = [\"k\"]\nwhere = \"x > 0\"\n[features.g.columns]\n\
             n = { agg = \"count\", windows = [\"1h\", \"all\"] }\nm = { agg = \"max\", of = \"abs(x)\", window = \"7d\" }\n",
            "name = \"b\"\n[sources.tx]\nevent_time = \"ts\"\n[sources.tx.schema]\nts = \"int64\"\nk = \"int32\"\n[sources.tx.history]\n\
             type = \"jsonl\"\npath = \"h.jsonl\"\n[sources.tx.stream]\ntype = \"kafka\"\nbrokers = \"localhost:9\"\ntopic = \"${TOPIC:-t}\"\n\
             format = \"json\"\n[sources.tx.seam]\nby = \"offset\"\npartition = \"k\"\noffset = \"k\"\n[features.w]\nsource = \"tx\"\nkey = \"k\"\n\
             window = { hopping = \"1h\", every = \"15m\" }\ncolumns = { p = { agg = \"approx_percentile\", p = 0.5, of = \"k\" } }\n\
             [sinks.r]\ntype = \"redis\"\nurl = \"redis://localhost:1/0\"\n[dead_letters]\ntype = \"jsonl\"\npath = \"d.jsonl\"\n[state]\n\
             path = \"s\"\ncheckpoint_every = \"30s\"\n",
        ];
        examples.iter().map(|example| example.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "= ",
            "[[",
            "\"\"\"",
            "${",
            "${X:-",
            "1e309",
            "-1",
            "nan",
            "'",
            "session = \"1m\"",
            "99999999999999999999d",
            "\u{feff}",
            "[a.b]",
        ]
    }

    fn read(&self, input: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        std::fs::write(&path, input).unwrap();
        if let Err(faults) = headwater::Job::from_file(&path) {
            assert!(!faults.to_string().is_empty());
        }
    }
}
