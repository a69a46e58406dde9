//! How workers and the coordinator speak: a dataflow of its own, whose messages go to worker 0 and from there to all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;
use timely::worker::Worker;

use super::coordinator::Coordinator;
use super::messages::{Announcement, Message, Report};
use crate::base::id::{CheckpointNumber, Id, WorkerId};
use crate::checkpoint::contribution::Contribution;
use crate::observe::status::ProcessStatus;

/// A worker's end of it.
#[derive(Clone)]
pub struct CoordinatorHandle {
    worker: WorkerId,
    outbox: Rc<RefCell<VecDeque<Message>>>,
    announced: Rc<RefCell<Rc<Announcement>>>,
    sender: Rc<Activator>,
    is_open: Rc<Cell<bool>>,
    full_refresh: Rc<Cell<u64>>,
    contributed: Rc<Cell<CheckpointNumber>>,
}

impl CoordinatorHandle {
    pub fn report(&self, report: Report) {
        self.send(Message::Report(report));
    }

    /// This worker has put its part into a checkpoint.
    pub fn contribute(&self, contribution: Contribution) {
        self.contributed.set(contribution.number);
        self.send(Message::Contribution { worker: self.worker, contribution });
    }

    /// What this worker's process knows.
    pub fn tell(&self, status: ProcessStatus) {
        self.send(Message::Status { worker: self.worker, status: Box::new(status) });
    }

    pub fn announced(&self) -> Rc<Announcement> {
        self.announced.borrow().clone()
    }

    /// A store of this worker lost writes: every worker has to write everything again.
    pub fn want_full_refresh(&self) {
        self.full_refresh.set(self.announced.borrow().full_refresh + 1);
    }

    pub fn wanted_full_refresh(&self) -> u64 {
        self.full_refresh.get()
    }

    /// The number of the newest checkpoint that this worker has put its part into.
    pub fn contributed(&self) -> CheckpointNumber {
        self.contributed.get()
    }

    /// This worker has nothing more to say.
    pub fn close(&self) {
        self.is_open.set(false);
        self.sender.activate();
    }

    fn send(&self, message: Message) {
        self.outbox.borrow_mut().push_back(message);
        self.sender.activate();
    }
}

/// Builds the dataflow. `coordinator`: asked on every worker, used on worker 0; `on_announcement`: called with an announcement's arrival;
/// `on_status`: where worker 0 leaves what the processes say of themselves.
pub fn build(
    worker: &mut Worker,
    mut coordinator: Coordinator,
    on_announcement: Rc<dyn Fn(&Announcement)>,
    on_status: Arc<dyn Fn(WorkerId, ProcessStatus) + Send + Sync>,
) -> CoordinatorHandle {
    let (id, peers) = (WorkerId::at(worker.index()), worker.peers());
    let outbox: Rc<RefCell<VecDeque<Message>>> = Rc::default();
    let announced = Rc::new(RefCell::new(Rc::new(coordinator.announced().clone())));
    let is_open = Rc::new(Cell::new(true));
    let sender = worker.dataflow_named::<u64, _, _>("coordinate", |scope| {
        let mut builder = OperatorBuilder::new("messages".to_owned(), scope);
        let sender = scope.activator_for(builder.operator_info().address);
        let (output, messages) = builder.new_output();
        let mut output = OutputBuilder::from(output);
        let (pending, still_open) = (outbox.clone(), is_open.clone());
        builder.build(move |mut capabilities| {
            move |_| {
                if let Some(capability) = capabilities.first() {
                    output.activate().session(capability).give_iterator(pending.borrow_mut().drain(..));
                }
                if !still_open.get() {
                    capabilities.clear();
                }
            }
        });
        let announcements = messages.unary_frontier(Exchange::new(|_: &Message| 0), "coordinator", move |_, _| {
            move |(input, _), output| {
                let mut came = None;
                // In the order in which each worker sent them.
                input.for_each(|capability, messages| {
                    for message in messages.drain(..) {
                        if !matches!(message, Message::Status { .. }) {
                            came.get_or_insert_with(|| capability.delayed(&0, 0));
                        }
                        match message {
                            Message::Report(report) => coordinator.report(report),
                            Message::Contribution { worker, contribution } => {
                                coordinator.contributed(worker, contribution);
                            }
                            Message::Status { worker, status } => on_status(worker, *status),
                        }
                    }
                });
                if let Some(capability) = came.filter(|_| coordinator.update()) {
                    let to_all = (0..peers as u64).map(|to| (to, coordinator.announced().clone()));
                    output.session(&capability).give_iterator(to_all);
                }
            }
        });
        let latest = announced.clone();
        announcements.sink(Exchange::new(|(to, _): &(u64, Announcement)| *to), "hear", move |(input, _)| {
            input.for_each(|_, batch| {
                for (_, announcement) in batch.drain(..) {
                    on_announcement(&announcement);
                    *latest.borrow_mut() = Rc::new(announcement);
                }
            });
        });
        Rc::new(sender)
    });
    CoordinatorHandle {
        worker: id,
        outbox,
        announced,
        sender,
        is_open,
        full_refresh: Rc::default(),
        contributed: Rc::default(),
    }
}
