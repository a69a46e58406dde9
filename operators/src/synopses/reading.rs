//! How an aggregate reads its value from a synopsis.

use std::any::{Any, TypeId};

use super::rings::Rings;
use super::synopsis::{Asked, Synopsis};
use crate::value::{Datum, Kind};

/// What is read from a synopsis of type `K`. Columns of one input that read synopses of one type share one.
pub struct Reading<K>(pub fn(&mut K, &Asked) -> Datum);

/// A [`Reading`] from a synopsis of any type.
pub trait Read: Sync {
    /// Which synopsis it is read from: readings with the same answer, of the same input, share one.
    fn synopsis(&self) -> TypeId;

    /// Such a synopsis; see [`Synopsis::new`].
    fn build(&self, kind: Kind, rings: Rings, arguments: &[f64]) -> Box<dyn Synopsis>;

    /// The value.
    ///
    /// # Panics
    /// On a synopsis that another reading built, unless both name the same one.
    fn read(&self, synopsis: &mut dyn Synopsis, asked: &Asked) -> Datum;
}

impl<K: Synopsis> Read for Reading<K> {
    fn synopsis(&self) -> TypeId {
        TypeId::of::<K>()
    }

    fn build(&self, kind: Kind, rings: Rings, arguments: &[f64]) -> Box<dyn Synopsis> {
        Box::new(K::new(kind, rings, arguments))
    }

    fn read(&self, synopsis: &mut dyn Synopsis, asked: &Asked) -> Datum {
        let synopsis: &mut dyn Any = synopsis;
        (self.0)(synopsis.downcast_mut().expect("a synopsis is read by those that share it"), asked)
    }
}
