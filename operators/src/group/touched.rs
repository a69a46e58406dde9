//! A set of numbers, emptied often.

#[derive(Default)]
pub struct Touched {
    numbers: Vec<u32>,
    marks: Vec<bool>,
}

impl Touched {
    pub fn grow(&mut self, numbers: usize) {
        self.marks.resize(numbers, false);
    }

    #[inline]
    pub fn add(&mut self, number: u32) {
        if !std::mem::replace(&mut self.marks[number as usize], true) {
            self.numbers.push(number);
        }
    }

    /// The numbers in the order in which they came.
    pub fn take(&mut self) -> Vec<u32> {
        let numbers = std::mem::take(&mut self.numbers);
        numbers.iter().for_each(|number| self.marks[*number as usize] = false);
        numbers
    }
}
