//! How an aggregate reads its value from a keeper.

use std::any::{Any, TypeId};

use super::keeper::{Asked, Keeper};
use super::rings::Rings;
use crate::value::{Datum, Kind};

/// What is read from a keeper of type `K`. Columns of one input that read keepers of one type share one.
pub struct Reading<K>(pub fn(&mut K, &Asked) -> Datum);

/// A [`Reading`] from a keeper of any type.
pub trait Read: Sync {
    /// Which keeper it is read from: readings with the same answer, of the same input, share one.
    fn keeper(&self) -> TypeId;

    /// Such a keeper; see [`Keeper::new`].
    fn build(&self, kind: Kind, rings: Rings, arguments: &[f64]) -> Box<dyn Keeper>;

    /// The value.
    ///
    /// # Panics
    /// On a keeper that another reading built, unless both name the same one.
    fn read(&self, keeper: &mut dyn Keeper, asked: &Asked) -> Datum;
}

impl<K: Keeper> Read for Reading<K> {
    fn keeper(&self) -> TypeId {
        TypeId::of::<K>()
    }

    fn build(&self, kind: Kind, rings: Rings, arguments: &[f64]) -> Box<dyn Keeper> {
        Box::new(K::new(kind, rings, arguments))
    }

    fn read(&self, keeper: &mut dyn Keeper, asked: &Asked) -> Datum {
        let keeper: &mut dyn Any = keeper;
        (self.0)(keeper.downcast_mut().expect("a keeper is read by those that share it"), asked)
    }
}
