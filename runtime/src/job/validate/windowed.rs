//! A group's window, as far as it is known before the group's columns are read.

use crate::job::Window;

/// A kind of window that a group may have.
#[derive(Clone, Copy, PartialEq)]
pub enum WindowKind {
    Tumbling,
    Hopping,
    Session,
}

impl WindowKind {
    const ALL: [WindowKind; 3] = [WindowKind::Tumbling, WindowKind::Hopping, WindowKind::Session];

    /// As a job names it.
    pub fn name(self) -> &'static str {
        match self {
            WindowKind::Tumbling => "tumbling",
            WindowKind::Hopping => "hopping",
            WindowKind::Session => "session",
        }
    }

    pub fn named(name: &str) -> Option<WindowKind> {
        WindowKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is known of a group's window before its columns are read.
#[derive(Clone, Copy, PartialEq)]
pub enum Windowed {
    Trailing,
    Window(Window),
    /// There is one, and it is wrong.
    Unknown,
}
