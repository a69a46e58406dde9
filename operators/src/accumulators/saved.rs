//! What a unit holds, in a checkpoint.

use std::collections::HashMap;

use headwater_clocks::Tick;

use super::corrections::TakenBack;
use super::{Accumulators, NumberedValues};
use crate::saved::Damaged;
use crate::synopses::synopsis::Loading;
use crate::value::Ordered;

impl Accumulators {
    /// Writes down what a unit holds.
    pub fn save(&self, unit: usize, out: &mut Vec<u8>) {
        for (cells, track) in self.cells.iter().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            cells.save(unit * rings..(unit + 1) * rings, out);
        }
        self.synopses.iter().for_each(|synopsis| synopsis.save(unit, out));
        self.corrections.iter().for_each(|corrections| corrections.save(unit, out));
    }

    /// Fills a unit that is empty with what one held at tick `now`. `values`: by synopsis, those that it named by number.
    ///
    /// # Errors
    /// What is read is no unit of this plan.
    pub fn load(
        &mut self,
        unit: usize,
        input: &mut &[u8],
        now: Tick,
        values: &[HashMap<u32, Ordered>],
    ) -> Result<(), Damaged> {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            cells.load(unit * rings..(unit + 1) * rings, input)?;
        }
        for (synopsis, values) in self.synopses.iter_mut().zip(values) {
            synopsis.load(unit, input, &Loading { now, windows: &self.layout.windows, values })?;
        }
        self.load_corrections(unit, input, now, values)
    }

    fn load_corrections(
        &mut self,
        unit: usize,
        input: &mut &[u8],
        now: Tick,
        values: &[HashMap<u32, Ordered>],
    ) -> Result<(), Damaged> {
        let (Some(corrections), layout) = (&mut self.corrections, &self.layout) else { return Ok(()) };
        let synopses = &mut self.synopses;
        corrections.load(unit, input, |synopsis, TakenBack { ts, count, word }| {
            let (Some(plan), Some(values)) = (layout.synopses.get(synopsis), values.get(synopsis)) else {
                return Err(Damaged("rows that were taken back from another plan".to_owned()));
            };
            let loading = Loading { now, windows: &layout.windows, values };
            let inside = plan.rings.finite_holds(loading.class(ts));
            synopses[synopsis].load_word(word, count, inside, &loading)
        })
    }

    /// By synopsis: the values that saved units name by number.
    pub fn values(&self) -> Vec<Option<&NumberedValues>> {
        self.synopses.iter().map(|synopsis| synopsis.values()).collect()
    }
}
