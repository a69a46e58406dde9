//! The files of examples/deploy are what their readers take them for: checked by systemd and by a YAML parser.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{headwater, need, skipped, yaml};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// What follows the name of the program, as a command line.
fn check_arguments(args: &[String], dir: &Path) {
    let mut command = headwater();
    // It fails, but at what it is told and not at how.
    let output = command.args(args).current_dir(dir).env("HEADWATER_SECRET", "s3cret").output().unwrap();
    let told = told(&output);
    assert!(told.contains("/etc/headwater/job.toml"), "{args:?}: {told}");
}

#[test]
fn the_unit_is_one_for_systemd() {
    let unit = read("headwater@.service");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    assert_eq!(line("Restart"), Some("always"));
    assert_eq!(line("RestartPreventExitStatus"), Some("2 3"));
    let environment = read("environment");
    let mut start = line("ExecStart").unwrap().replace("%i", "1");
    for (name, value) in environment.lines().filter_map(|line| line.split_once('=')) {
        start = start.replace(&format!("${{{name}}}"), value);
    }
    let dir = tempfile::tempdir().unwrap();
    let args: Vec<String> = start.split(' ').skip(1).map(str::to_owned).collect();
    check_arguments(&args, dir.path());

    // It looks whether the program is there.
    let here = unit.replace("/usr/local/bin/headwater", env!("CARGO_BIN_EXE_headwater"));
    let path = dir.path().join("headwater@1.service");
    std::fs::write(&path, here).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Ok(output) => assert!(output.status.success() && told(&output).is_empty(), "{}", told(&output)),
        Err(e) => skipped(&format!("systemd-analyze: {e}")),
    }
}

#[test]
fn the_job_is_verified_every_night() {
    let unit = read("headwater-verify.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let args: Vec<String> = start.split(' ').skip(1).map(str::to_owned).collect();
    assert_eq!(args[0], "verify");
    let dir = tempfile::tempdir().unwrap();
    check_arguments(&args, dir.path());
    assert!(read("headwater-verify.timer").contains("OnCalendar="));
}

#[test]
fn the_stateful_set_fits_its_parts() {
    let documents = need!(yaml(&file("kubernetes.yaml")));
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    for document in &documents {
        assert_eq!(document["metadata"]["name"], "headwater", "{document}");
    }
    let set = &of_kind("StatefulSet")["spec"];
    let (pod, service) = (&set["template"]["spec"], &of_kind("Service")["spec"]);
    let container = &pod["containers"][0];
    assert_eq!(set["podManagementPolicy"], "Parallel");
    assert_eq!(set["updateStrategy"]["type"], "OnDelete");
    assert_eq!(set["serviceName"], "headwater");
    assert_eq!((&service["clusterIP"], &service["publishNotReadyAddresses"]), (&"None".into(), &true.into()));
    assert_eq!(service["selector"], set["selector"]["matchLabels"]);
    assert_eq!(service["selector"], set["template"]["metadata"]["labels"]);
    assert_eq!(of_kind("PersistentVolumeClaim")["spec"]["accessModes"][0], "ReadWriteMany");

    let processes = set["replicas"].as_u64().unwrap();
    let hosts = of_kind("ConfigMap")["data"]["hosts.txt"].as_str().unwrap();
    let port = &service["ports"][0]["port"];
    assert_eq!(&container["ports"][0]["containerPort"], port);
    let expected: String = (0..processes).map(|p| format!("headwater-{p}.headwater:{port}\n")).collect();
    assert_eq!(hosts, expected);

    let secret = &container["env"][1]["valueFrom"]["secretKeyRef"];
    assert_eq!(container["env"][1]["name"], "HEADWATER_SECRET");
    assert!(of_kind("Secret")["stringData"][secret["key"].as_str().unwrap()].is_string());
    let names = |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));

    let args: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().replace("$(PROCESS)", "1")).collect();
    assert!(args.contains(&format!("--processes={processes}")));
    let dir = tempfile::tempdir().unwrap();
    check_arguments(&args, dir.path());
    check_job(of_kind("ConfigMap")["data"]["job.toml"].as_str().unwrap(), dir.path());
}

/// All that is wrong with it is that the broker is not here.
fn check_job(text: &str, dir: &Path) {
    let path = dir.join("job.toml");
    std::fs::write(&path, text.replace("kafka:9092", "127.0.0.1:1")).unwrap();
    let job = headwater::Job::from_file(&path).unwrap_or_else(|faults| panic!("{faults}"));
    let job = format!("{job:?}");
    assert!(job.contains("local: \"/var/lib/headwater/"), "{job}");
}
