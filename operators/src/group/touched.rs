//! Units that were touched, and whether their rows became others for sure; emptied often.

#[derive(Default)]
pub struct Touched {
    units: Vec<(u32, bool)>,
    marks: Vec<bool>,
}

impl Touched {
    pub fn grow(&mut self, units: usize) {
        self.marks.resize(units, false);
    }

    #[inline]
    pub fn has(&self, unit: u32) -> bool {
        self.marks[unit as usize]
    }

    /// What was said of a unit first holds.
    #[inline]
    pub fn add(&mut self, unit: u32, sure: bool) {
        if !std::mem::replace(&mut self.marks[unit as usize], true) {
            self.units.push((unit, sure));
        }
    }

    /// All of them, in the order in which they came.
    pub fn take(&mut self) -> Vec<(u32, bool)> {
        let units = std::mem::take(&mut self.units);
        units.iter().for_each(|(unit, _)| self.marks[*unit as usize] = false);
        units
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.units.iter().for_each(|(unit, _)| self.marks[*unit as usize] = false);
        self.units.clear();
    }
}
