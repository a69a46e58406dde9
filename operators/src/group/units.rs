//! Units by number: a number that is given back is used again.

pub struct Units<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Units<T> {
    fn default() -> Units<T> {
        Units { all: vec![], free: vec![] }
    }
}

impl<T> Units<T> {
    /// All numbers are below it.
    pub fn bound(&self) -> usize {
        self.all.len()
    }

    /// The number of a new unit.
    ///
    /// # Panics
    /// On more than 2^32 units.
    pub fn begin(&mut self, unit: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            u32::try_from(self.all.len() - 1).expect("more than 2^32 windows of a group on one worker")
        });
        self.all[number as usize] = Some(unit);
        number
    }

    pub fn end(&mut self, number: u32) -> T {
        self.free.push(number);
        self.all[number as usize].take().expect("a unit ends once")
    }

    pub fn get(&self, number: u32) -> &T {
        self.all[number as usize].as_ref().expect("a unit that is there")
    }

    pub fn try_get(&self, number: u32) -> Option<&T> {
        self.all.get(number as usize)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.all).filter_map(|(number, unit)| Some((number, unit.as_ref()?)))
    }

    pub fn get_mut(&mut self, number: u32) -> &mut T {
        self.all[number as usize].as_mut().expect("a unit that is there")
    }
}
