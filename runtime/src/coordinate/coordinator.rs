//! The coordinator: worker 0 hears every worker, and announces what holds for all.
//!
//! It knows how far the job's own time is (`clock`), asks for checkpoints (`checkpointing`), and has all stores written anew where one
//! lost writes. Where a run has two sides, each has a coordinator, and they meet (`barrier`).

use headwater_clocks::Tick;

use super::barrier::OfSide;
use super::checkpointing::Checkpointing;
use super::clock::{Bounds, Clock};
use super::messages::{Announcement, Report};
use crate::base::id::WorkerId;
use crate::checkpoint::contribution::Contribution;

pub struct Coordinator {
    clock: Clock,
    /// A job without any stream has none.
    checkpointing: Option<Checkpointing>,
    /// Where a run has two sides.
    side: Option<OfSide>,
    announced: Announcement,
}

impl Coordinator {
    /// `announced`: what every worker knows at the start.
    pub fn new(
        clock: Clock,
        checkpointing: Option<Checkpointing>,
        side: Option<OfSide>,
        announced: Announcement,
    ) -> Coordinator {
        Coordinator { clock, checkpointing, side, announced }
    }

    pub fn announced(&self) -> &Announcement {
        &self.announced
    }

    pub fn report(&mut self, report: Report) {
        self.clock.hear(report);
    }

    pub fn contributed(&mut self, worker: WorkerId, contribution: Contribution) {
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.contributed(worker, contribution);
        }
    }

    /// Decides anew. Returns whether there is something to announce.
    pub fn update(&mut self) -> bool {
        // Nobody stands still for a store that is away.
        let is_under_way = || self.checkpointing.as_ref().is_some_and(Checkpointing::is_under_way);
        let bounds = Bounds {
            meets: &|| self.side.as_ref().is_some_and(OfSide::meets) && !is_under_way(),
            is_pausing: self.checkpointing.as_ref().is_some_and(|c| c.is_pausing(&self.announced)),
            t_max: self.side.as_ref().map_or(Some(Tick::AFTER_ALL), OfSide::t_max),
        };
        let mut next = self.clock.decide(&self.announced, bounds);
        let wanted = self.clock.wanted_full_refresh();
        if wanted > next.full_refresh && !next.last {
            // Every worker hears of it before it sees this tick.
            (next.full_refresh, next.full_refresh_from) = (wanted, next.t.map(Tick::just_after));
        }
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.ask_if_due(&self.announced, &mut next, self.clock.reports().as_deref());
        }
        self.side.iter().for_each(|side| side.announce(next.t));
        let changed = next != self.announced;
        self.announced = next;
        changed
    }
}
