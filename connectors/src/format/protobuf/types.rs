//! Message types: from a `.proto` file, from descriptors, or from a registry's text.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};

use crate::guard::guarded;

/// What a registry's text is called; nobody imports it.
const MAIN: &str = "(registry).proto";

/// Texts by the names by which they import each other.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let text = self.0.get(name).ok_or_else(|| Error::file_not_found(name))?;
        match descriptor(name, text) {
            Some(file) => Ok(file),
            None => File::from_source(name, text),
        }
    }
}

/// Some serializers register a file's descriptor, in base64, and not every registry makes a text of it.
fn descriptor(name: &str, text: &str) -> Option<File> {
    let bytes = BASE64_STANDARD.decode(text.trim()).ok().filter(|bytes| !bytes.is_empty())?;
    let mut file = File::decode_file_descriptor_proto(&bytes[..]).ok()?.file_descriptor_proto().clone();
    file.name = Some(name.to_owned());
    Some(File::from_file_descriptor_proto(file))
}

/// The types of a text, and of those that it names.
pub(super) fn of_text(text: &str, references: &[(String, String)]) -> Result<FileDescriptor, String> {
    let mut texts: HashMap<String, String> = references.iter().cloned().collect();
    texts.insert(MAIN.to_owned(), text.to_owned());
    let compiled = guarded(|| {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        compiler.open_file(MAIN).map(|compiler| compiler.descriptor_pool())
    });
    let pool = compiled?.map_err(|e| e.to_string())?;
    pool.get_file_by_name(MAIN).ok_or_else(|| "it has no types".to_owned())
}

/// The types of a file: `.proto`, which finds what it imports beside it, or descriptors as `protoc --include_imports -o` writes them.
pub(super) fn of_file(path: &Path) -> Result<FileDescriptor, String> {
    let of_dir = path.parent().unwrap_or(path);
    if path.extension().is_some_and(|ending| ending == "proto") {
        let compiled = guarded(|| {
            let mut compiler = Compiler::new([of_dir])?;
            compiler.include_imports(true);
            compiler.open_file(path).map(|compiler| compiler.descriptor_pool())
        });
        let pool = compiled?.map_err(|e| e.to_string())?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        return pool.get_file_by_name(name).ok_or_else(|| "it has no types".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let pool = guarded(|| DescriptorPool::decode(&bytes[..]))?;
    let hint = "expected a .proto file, or descriptors as `protoc --include_imports -o` writes them";
    let pool = pool.map_err(|e| format!("{e}: {hint}"))?;
    // Imports come first.
    pool.files().last().ok_or_else(|| format!("it has no types: {hint}"))
}

/// The message of a name, with or without its package; without one, the first if `is_first`, or the only one.
pub(super) fn message(file: &FileDescriptor, name: Option<&str>, is_first: bool) -> Result<MessageDescriptor, String> {
    let mut all = file.messages();
    let Some(name) = name else {
        return match (all.next(), all.len()) {
            (Some(only), 0) => Ok(only),
            (Some(first), _) if is_first => Ok(first),
            (None, _) => Err("it has no message".into()),
            (Some(_), _) => {
                let names: Vec<String> = file.messages().map(|message| format!("`{}`", message.full_name())).collect();
                Err(format!("it has several messages: say which one records are, with `message`: {}", names.join(", ")))
            }
        };
    };
    let pool = file.parent_pool();
    let found = pool.get_message_by_name(name);
    let found = found.or_else(|| pool.get_message_by_name(&format!("{}.{name}", file.package_name())));
    found.ok_or_else(|| format!("it has no message `{name}`"))
}

/// The message at some places: of the file, and of the message before.
pub(super) fn at_places(file: &FileDescriptor, places: &[usize]) -> Option<MessageDescriptor> {
    let (first, rest) = places.split_first()?;
    let first = file.messages().nth(*first)?;
    rest.iter().try_fold(first, |message, place| message.child_messages().nth(*place))
}
