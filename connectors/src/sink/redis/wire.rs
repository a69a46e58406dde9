//! Commands in Redis's wire format, many in one buffer: what is sent in one go.

#[derive(Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many answers will come.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A whole command.
    pub fn push(&mut self, parts: &[&[u8]]) {
        self.begin(parts.len());
        for part in parts {
            self.part(part);
        }
    }

    /// Begins a command of so many parts, which `part` then appends.
    pub fn begin(&mut self, parts: usize) {
        self.head(b'*', parts);
        self.count += 1;
    }

    pub fn part(&mut self, part: &[u8]) {
        self.head(b'$', part.len());
        self.bytes.extend_from_slice(part);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, kind: u8, number: usize) {
        self.bytes.push(kind);
        crate::format::text::write_number(&mut self.bytes, number as i64);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let mut commands = Commands::default();
        commands.push(&[b"SET", b"k\r\n", b""]);
        commands.push(&[b"EXEC"]);
        assert_eq!(commands.bytes(), b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n*1\r\n$4\r\nEXEC\r\n");
        assert_eq!(commands.count(), 2);
        commands.clear();
        assert_eq!((commands.bytes(), commands.count()), (b"".as_slice(), 0));
    }
}
