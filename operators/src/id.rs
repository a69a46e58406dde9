//! Numbers of things, each kind of a type of its own, so that none is taken for another; and the lists that they count.
//!
//! As text an id is the number alone, and a list the list alone: what is written down does not know of these types.
//!
//! ```compile_fail
//! use headwater_operators::id::{ColumnSetId, GroupId, Id, IdVec};
//!
//! let rows_of: IdVec<GroupId, u64> = IdVec::filled(0, 3);
//! rows_of[ColumnSetId::at(1)];
//! ```

use std::fmt::{Display, Formatter};
use std::iter::Map;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut, Range};

use serde::{Deserialize, Serialize};

/// A number that counts things of one kind, from 0.
pub trait Id: Copy {
    /// That of a place in a list.
    fn at(index: usize) -> Self;

    /// The place in a list.
    fn index(self) -> usize;

    /// For messages and files, which know no ids.
    fn number(self) -> u32;
}

/// Defines kinds of ids, each with what it counts.
#[macro_export]
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(u32);

        impl $crate::id::Id for $name {
            fn at(index: usize) -> $name {
                $name(u32::try_from(index).expect("a job has fewer things than four billion"))
            }

            fn index(self) -> usize {
                self.0 as usize
            }

            fn number(self) -> u32 {
                self.0
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> $name {
                $name(number)
            }
        }
    )*};
}

ids! {
    /// A group of the job, in the order of the file; in a plan or a checkpoint, of the job as it was then.
    GroupId
    /// What has rows, as sinks, readers and messages number it: the groups of the job, then its views.
    RowsId
    /// A column set of a group: its columns that began with one scan.
    ColumnSetId
}

impl From<GroupId> for RowsId {
    fn from(group: GroupId) -> RowsId {
        RowsId(group.0)
    }
}

/// The number of a checkpoint: later ones have higher ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointNumber(u64);

impl CheckpointNumber {
    /// Before all: there was none.
    pub const NONE: CheckpointNumber = CheckpointNumber(0);
    /// After all.
    pub const LAST: CheckpointNumber = CheckpointNumber(u64::MAX);

    /// As files and names have it.
    pub const fn of(number: u64) -> CheckpointNumber {
        CheckpointNumber(number)
    }

    /// As files and names have it.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> CheckpointNumber {
        CheckpointNumber(self.0 + 1)
    }
}

impl Display for CheckpointNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A list of all things of a kind, by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdVec<I, T> {
    items: Vec<T>,
    #[serde(skip)]
    by: PhantomData<fn(I)>,
}

/// The first so many ids.
pub type Ids<I> = Map<Range<usize>, fn(usize) -> I>;

impl<I: Id, T> IdVec<I, T> {
    /// Of nothing.
    pub fn new() -> IdVec<I, T> {
        IdVec::from(vec![])
    }

    /// The same for each of so many.
    pub fn filled(item: T, len: usize) -> IdVec<I, T>
    where
        T: Clone,
    {
        IdVec::from(vec![item; len])
    }

    /// Of all of them.
    pub fn ids(&self) -> Ids<I> {
        (0..self.items.len()).map(I::at)
    }

    /// Each with its id.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator + Clone {
        self.items.iter().enumerate().map(|(index, item)| (I::at(index), item))
    }

    /// Each with its id, to be changed.
    pub fn pairs_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        self.items.iter_mut().enumerate().map(|(index, item)| (I::at(index), item))
    }

    /// `None`: there are not so many.
    pub fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.index())
    }

    /// The first for which that holds.
    pub fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<I> {
        self.items.iter().position(is_it).map(I::at)
    }

    /// Adds one behind the others.
    pub fn push(&mut self, item: T) -> I {
        self.items.push(item);
        I::at(self.items.len() - 1)
    }

    /// Makes it as long as another one, if that is longer.
    pub fn grow_to(&mut self, len: usize)
    where
        T: Default,
    {
        self.items.resize_with(self.items.len().max(len), T::default);
    }
}

impl<I: Id, T> Default for IdVec<I, T> {
    fn default() -> IdVec<I, T> {
        IdVec::new()
    }
}

impl<I: Id, T> Index<I> for IdVec<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.items[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for IdVec<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.index()]
    }
}

impl<I, T> Deref for IdVec<I, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<I, T> DerefMut for IdVec<I, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<I, T> From<Vec<T>> for IdVec<I, T> {
    fn from(items: Vec<T>) -> IdVec<I, T> {
        IdVec { items, by: PhantomData }
    }
}

impl<I, T> FromIterator<T> for IdVec<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> IdVec<I, T> {
        IdVec::from(items.into_iter().collect::<Vec<T>>())
    }
}

impl<I, T> IntoIterator for IdVec<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, I, T> IntoIterator for &'a IdVec<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'a, I, T> IntoIterator for &'a mut IdVec<I, T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_they_are_what_they_count() {
        let groups: IdVec<GroupId, (RowsId, Option<CheckpointNumber>)> =
            IdVec::from(vec![(RowsId::at(3), Some(CheckpointNumber::of(1)))]);
        let text = serde_json::to_string(&groups).unwrap();
        assert_eq!(text, "[[3,1]]");
        assert_eq!(serde_json::from_str::<IdVec<GroupId, (RowsId, Option<CheckpointNumber>)>>(&text).unwrap(), groups);
    }
}
