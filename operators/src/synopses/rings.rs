//! Windows of several lengths over the same events, as rings.
//!
//! A *ring* is a window less the next shorter one: an event lies in one ring, moves outwards as it ages, and a window is
//! the sum of its rings.
//!
//! ```text
//! now - 1d            now - 1h      now
//!  |------ ring 1 ------|-- ring 0 --|        1h = ring 0    1d = ring 0 + ring 1
//! ```

/// The finite windows over which something is kept, and whether all time is asked for beside them.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// Indices into the group's windows, ascending.
    windows: Vec<usize>,
    all: bool,
    /// By age class (how many of the group's windows the event has left): the ring it falls into.
    of_class: Vec<Option<usize>>,
}

impl Rings {
    /// Asks for a window, given by its place in the group's windows; `None`: for all time.
    pub fn need(&mut self, window: Option<usize>) {
        match window {
            None => self.all = true,
            Some(window) => {
                if let Err(at) = self.windows.binary_search(&window) {
                    self.windows.insert(at, window);
                }
            }
        }
    }

    /// Works out where events fall into, of so many windows of the group.
    pub fn place(&mut self, windows: usize) {
        let inner = |class: usize| self.windows.iter().position(|w| *w >= class);
        self.of_class = (0..=windows).map(|class| inner(class).or(self.all.then_some(self.windows.len()))).collect();
    }

    /// How many rings there are, and so windows.
    pub fn len(&self) -> usize {
        self.windows.len() + usize::from(self.all)
    }

    /// Whether all time is asked for.
    pub fn all(&self) -> bool {
        self.all
    }

    /// The longest finite window that is asked for.
    pub fn longest_finite(&self) -> Option<usize> {
        self.windows.last().copied()
    }

    /// Whether a place is that of the longest finite window that is asked for.
    pub fn is_longest_finite(&self, place: usize) -> bool {
        place + 1 == self.windows.len()
    }

    /// Whether a finite window that is asked for holds an event of this age class.
    pub fn finite_holds(&self, class: usize) -> bool {
        self.longest_finite().is_some_and(|longest| class <= longest)
    }

    /// The ring into which an event of this age class falls; `None`: it is too old.
    pub fn of_class(&self, class: usize) -> Option<usize> {
        self.of_class[class]
    }

    /// The place of a window among those asked for: its rings are those up to it.
    pub fn place_of(&self, window: Option<usize>) -> usize {
        window.map_or(self.len() - 1, |window| self.windows.partition_point(|own| *own < window))
    }

    /// The ring that ends where this window does, if it is asked for.
    pub fn ending_at(&self, window: usize) -> Option<usize> {
        self.windows.binary_search(&window).ok()
    }
}
