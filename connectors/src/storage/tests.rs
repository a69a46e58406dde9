//! What a storage promises, held for a directory and for an object store alike.

use object_store::memory::InMemory;

use super::*;

/// The same of a directory and of an object store.
fn each(check: impl Fn(&Storage)) {
    let dir = tempfile::tempdir().unwrap();
    check(&Storage::open(dir.path().to_str().unwrap()).unwrap());
    check(&in_memory());
}

fn in_memory() -> Storage {
    let prefix = Key::from("some/prefix");
    Storage(Location::Objects { store: Arc::new(InMemory::new()), prefix, url: "mem://b/some/prefix".into() })
}

#[test]
fn what_is_created_has_one_winner() {
    each(|storage| {
        assert!(storage.create("a/1.json", b"one").unwrap());
        assert!(!storage.create("a/1.json", b"two").unwrap());
        assert!(storage.create("a/1.json", b"one").unwrap(), "an answer that was lost");
        assert_eq!(storage.read("a/1.json").unwrap().unwrap().0, b"one");
        assert!(storage.read("a/2.json").unwrap().is_none());
    });
}

#[test]
fn files_are_listed_and_removed_by_name() {
    each(|storage| {
        assert_eq!(storage.list("c").unwrap(), Vec::<String>::new());
        for name in ["c/1/a", "c/1/b", "c/10/a", "d/a"] {
            assert!(storage.create(name, b"x").unwrap());
        }
        assert_eq!(storage.list("c").unwrap(), ["c/1/a", "c/1/b", "c/10/a"]);
        storage.remove("c/1").unwrap();
        assert_eq!(storage.list("c").unwrap(), ["c/10/a"], "and not what only begins alike");
        storage.remove("c/10/a").unwrap();
        storage.remove("c/10/a").unwrap();
        assert_eq!(storage.list("c").unwrap(), Vec::<String>::new());
        assert_eq!(storage.list("d").unwrap(), ["d/a"]);
    });
}

#[test]
fn an_object_is_replaced_only_as_it_was_read() {
    let storage = in_memory();
    assert!(storage.create("lease", b"1").unwrap());
    let (_, first) = storage.read("lease").unwrap().unwrap();
    let second = storage.replace("lease", b"2", &first).unwrap().unwrap();
    assert!(storage.replace("lease", b"3", &first).unwrap().is_none());
    assert!(storage.replace("lease", b"4", &second).unwrap().is_some());
    assert_eq!(storage.read("lease").unwrap().unwrap().0, b"4");
}

#[test]
fn files_go_there_and_back_in_pieces() {
    let (storage, dir) = (in_memory(), tempfile::tempdir().unwrap());
    let (here, back) = (dir.path().join("here"), dir.path().join("back"));
    for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 31 + i / 4099) as u8).collect();
        std::fs::write(&here, &bytes).unwrap();
        storage.upload("part", &here).unwrap();
        assert!(storage.download("part", length as u64, &back).unwrap());
        assert!(std::fs::read(&back).unwrap() == bytes, "{length}");
    }
    assert!(!storage.download("none", 1, &back).unwrap());
}
