//! Numbers of a job's things, each kind of a type of its own, so that none is taken for another; and the lists that they count.
//!
//! As text an id is the number alone, and a list the list alone: what is written down does not know of these types.

use std::iter::Map;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut, Range};

use serde::{Deserialize, Serialize};

/// A number that counts things of one kind, from 0.
pub trait Id: Copy {
    fn at(index: usize) -> Self;

    fn index(self) -> usize;
    /// For messages and files, which know no ids.
    fn number(self) -> u32;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u32);

        impl Id for $name {
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
    /// A source or a table of the job: first the sources, then the tables, each in the order of the file.
    SourceId
    /// A group of the job, in the order of the file; in a plan or a checkpoint, of the job as it was then.
    GroupId
    /// What has rows, as sinks, readers and messages number it: the groups of the job, then its views.
    RowsId
    /// A view of the job, or links: first the views, then the links, each in the order of the file.
    ViewId
    /// A sink of the job, in the order of the file.
    SinkId
    /// A node of a job's graph: a source, a group, a view, a sink, or the dead letters.
    NodeId
    /// A scan of a plan: a source as it is read from one seam.
    ScanId
    /// A column set of a group: its columns that began with one scan.
    ColumnSetId
}

/// Whose rows they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasRows {
    Group(GroupId),
    View(ViewId),
}

impl HasRows {
    /// `None`: it is a view.
    pub fn group(self) -> Option<GroupId> {
        match self {
            HasRows::Group(group) => Some(group),
            HasRows::View(_) => None,
        }
    }

    /// `None`: it is a group.
    pub fn view(self) -> Option<ViewId> {
        match self {
            HasRows::Group(_) => None,
            HasRows::View(view) => Some(view),
        }
    }
}

impl RowsId {
    /// A view's, in a job of so many groups.
    pub fn of_view(view: ViewId, groups: usize) -> RowsId {
        RowsId::at(groups + view.index())
    }

    /// Whose rows they are, in a job of so many groups.
    pub fn owner(self, groups: usize) -> HasRows {
        match self.index().checked_sub(groups) {
            None => HasRows::Group(GroupId(self.0)),
            Some(view) => HasRows::View(ViewId::at(view)),
        }
    }
}

impl From<GroupId> for RowsId {
    fn from(group: GroupId) -> RowsId {
        RowsId(group.0)
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

    pub fn ids(&self) -> Ids<I> {
        (0..self.items.len()).map(I::at)
    }

    /// Each with its id.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator + Clone {
        self.items.iter().enumerate().map(|(index, item)| (I::at(index), item))
    }

    pub fn pairs_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        self.items.iter_mut().enumerate().map(|(index, item)| (I::at(index), item))
    }

    pub fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.index())
    }

    /// The first for which that holds.
    pub fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<I> {
        self.items.iter().position(is_it).map(I::at)
    }

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
        let of_sinks: IdVec<SinkId, (SourceId, Option<GroupId>)> =
            IdVec::from(vec![(SourceId::at(3), Some(GroupId::at(1)))]);
        let text = serde_json::to_string(&of_sinks).unwrap();
        assert_eq!(text, "[[3,1]]");
        assert_eq!(serde_json::from_str::<IdVec<SinkId, (SourceId, Option<GroupId>)>>(&text).unwrap(), of_sinks);
    }
}
