//! A group's window, as far as it is known before the group's columns are read.

use crate::job::Window;

/// What is known of a group's window before its columns are read.
#[derive(Clone, Copy, PartialEq)]
pub enum Windowed {
    Trailing,
    Window(Window),
    /// There is one, and it is wrong.
    Unknown,
}
