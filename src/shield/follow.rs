//! The thread that follows the guard's list and lets the kernel have what of it the kernel may
//! drop. The reactors know nothing of it: it asks the shards by orders, as operators do.
//!
//! Once a second each shard is asked whether its list has changed; only then is it read. What the
//! kernel is told is no more than the list says at that moment: a source that is lifted is served
//! again within a second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use ipnet::IpNet;

use super::by_filter::Filter;
use super::by_nftables::Nftables;
use super::counts::{Counts, Means};
use super::rules::{Drops, Rules};
use crate::config::{Kernel, Settings};
use crate::limits::{BLACKLIST_MAX, BLOCKS_PER_CALL_MAX, RESTRAINTS_MAX};
use crate::reactor::{Clock, ControlError, Controller, FilteredSockets};
use crate::shard::Shard;
use crate::shard::blocks::{BlockItem, BlockPage};
use crate::shard::control::{Control, Reply};
use crate::time::Instant;

const ASK_EVERY: Duration = Duration::from_secs(1);
const REPLY_MAX: Duration = Duration::from_secs(2);
/// Orders of an operator, or of a reload, that wait.
const ORDERS_MAX: usize = 8;
/// Takes a line for the operator.
pub type Tell = Box<dyn Fn(&str) + Send>;

/// The thread; it ends with this.
pub struct Shield {
    orders: Sender<Order>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// The way to it from another thread.
#[derive(Clone)]
pub struct ShieldDesk {
    orders: Sender<Order>,
    counts: Arc<Counts>,
}

enum Order {
    /// Obey other settings.
    Settings(Box<Settings>),
    /// Use these means until other settings come.
    Kernel(Kernel),
    /// End.
    Stop,
}

impl Shield {
    /// Begins to follow the list of these shards.
    #[must_use]
    pub fn start(
        settings: &Settings,
        controllers: Vec<Controller<Shard>>,
        sockets: FilteredSockets,
        tell: Tell,
    ) -> Shield {
        let (orders, taken) = bounded(ORDERS_MAX);
        let counts = Arc::new(Counts::default());
        let follower = Follower {
            kernel: Kernel::Off,
            helper: None,
            rules: Rules::default(),
            clock: Clock::start(),
            known: vec![None; controllers.len()],
            controllers,
            blocks: Vec::new(),
            read_at: Instant::ZERO,
            drops: Drops::new(),
            is_new: true,
            nftables: Nftables::default(),
            filter: Filter::new(sockets),
            counts: Arc::clone(&counts),
            said: [None, None],
            tell,
        };
        let settings = Box::new(settings.clone());
        let thread = thread::spawn(move || follower.run(settings, &taken));
        Shield { orders, counts, thread: Some(thread) }
    }

    /// The way to it from other threads.
    #[must_use]
    pub fn desk(&self) -> ShieldDesk {
        ShieldDesk { orders: self.orders.clone(), counts: Arc::clone(&self.counts) }
    }
}

impl Drop for Shield {
    /// What nftables holds stays there for its time: a server that starts again finds it.
    fn drop(&mut self) {
        // It has nobody left to tell if it has ended by itself.
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

impl ShieldDesk {
    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Uses these means from now on, until other settings are obeyed. Returns whether it will.
    #[must_use]
    pub fn use_means(&self, kernel: Kernel) -> bool {
        self.orders.try_send(Order::Kernel(kernel)).is_ok()
    }

    /// Obeys other settings from now on; waits until they are taken.
    pub fn obey(&self, settings: &Settings) {
        // It takes orders once a second at least, unless nftables is slow.
        let _ = self.orders.send(Order::Settings(Box::new(settings.clone())));
    }
}

struct Follower {
    kernel: Kernel,
    helper: Option<PathBuf>,
    rules: Rules,
    clock: Clock,
    controllers: Vec<Controller<Shard>>,
    /// The version of each shard's list that was read.
    known: Vec<Option<u64>>,
    /// What any of them had, and when it was read.
    blocks: Vec<BlockItem>,
    read_at: Instant,
    /// What the kernel shall drop, and whether that is not what it was told.
    drops: Drops,
    is_new: bool,
    nftables: Nftables,
    filter: Filter,
    counts: Arc<Counts>,
    /// What was said last of nftables, and of filters.
    said: [Option<String>; 2],
    tell: Tell,
}

impl Follower {
    fn run(mut self, settings: Box<Settings>, orders: &Receiver<Order>) {
        self.take(Order::Settings(settings));
        loop {
            self.turn();
            match orders.recv_timeout(ASK_EVERY) {
                Ok(Order::Stop) => return,
                Ok(order) => self.take(order),
                // Nothing was ordered; that nobody can any more is said before.
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Settings(settings) => {
                self.rules = Rules::of(&settings);
                self.kernel = settings.shield.kernel;
                if self.helper != settings.shield.helper {
                    self.helper = settings.shield.helper;
                    self.nftables = Nftables::default();
                }
                self.choose();
            }
            Order::Kernel(kernel) => self.kernel = kernel,
            Order::Stop => return,
        }
        self.nftables.seek_now();
        Counts::set(&self.counts.setting, self.kernel as usize);
    }

    fn turn(&mut self) {
        let now = self.clock.now().mono;
        if self.kernel == Kernel::Off {
            self.nftables.withdraw(now, &self.counts);
            self.filter.withdraw(&self.counts);
            self.known.fill(None);
            self.use_means(Means::None);
            return;
        }
        self.follow(now);
        let until_now = |until: Instant| until <= now;
        if self.drops.values().any(|dropped| dropped.until.is_some_and(until_now)) {
            self.drops.retain(|_, dropped| !dropped.until.is_some_and(until_now));
            self.is_new = true;
        }
        Counts::set(&self.counts.wanted, self.drops.len());
        let asks_helper = matches!(self.kernel, Kernel::Auto | Kernel::Nftables);
        let by_nftables = match self.helper.clone().filter(|_| asks_helper) {
            Some(path) => self.by_nftables(now, &path),
            None => {
                self.nftables.withdraw(now, &self.counts);
                false
            }
        };
        if by_nftables || self.kernel == Kernel::Nftables {
            self.filter.withdraw(&self.counts);
            self.use_means(if by_nftables { Means::Nftables } else { Means::None });
        } else {
            let is_new = std::mem::take(&mut self.is_new);
            match self.filter.hold(&self.drops, is_new, &self.counts) {
                Ok(()) => self.use_means(Means::Socket),
                Err(error) => {
                    self.is_new = true;
                    self.use_means(Means::None);
                    self.say(1, format!("the kernel refuses a socket filter ({error})"));
                }
            }
        }
    }

    fn use_means(&self, means: Means) {
        Counts::set(&self.counts.means, means as usize);
        if means == Means::None {
            Counts::set(&self.counts.held, 0);
        }
    }

    /// Reads the list again where any shard's has changed.
    fn follow(&mut self, now: Instant) {
        let versions =
            self.controllers.iter().map(|shard| match ask(shard, Control::BlocksVersion)? {
                Reply::BlocksVersion(version) => Ok(version),
                _ => Err(ControlError::Stopped),
            });
        let Ok(versions) = versions.collect::<Result<Vec<u64>, _>>() else {
            Counts::add(&self.counts.unread, 1);
            return;
        };
        if self.known.iter().zip(&versions).all(|(known, version)| *known == Some(*version)) {
            return;
        }
        match all_blocks(&self.controllers) {
            Ok(blocks) => {
                self.blocks = blocks;
                self.read_at = now;
                self.known = versions.into_iter().map(Some).collect();
                self.choose();
            }
            Err(_) => Counts::add(&self.counts.unread, 1),
        }
    }

    /// Chooses from what was read.
    fn choose(&mut self) {
        let (drops, left_out) = self.rules.drops(self.read_at, &self.blocks);
        self.drops = drops;
        self.is_new = true;
        Counts::set(&self.counts.left_out, left_out);
    }

    /// Whether nftables holds what is wanted.
    fn by_nftables(&mut self, now: Instant, path: &Path) -> bool {
        let was_up = self.counts.means_now() == Means::Nftables;
        match self.nftables.hold(now, path, &self.drops, &self.counts) {
            Some(Ok(())) => {
                if !was_up {
                    // What a filter held before is to be built anew should it come to that.
                    self.is_new = true;
                    let networks = self.drops.len();
                    self.say(0, format!("nftables drops {networks} blocked networks"));
                }
                true
            }
            Some(Err(why)) => {
                self.is_new = true;
                let instead = match self.kernel {
                    Kernel::Auto => "socket filters drop blocked sources meanwhile",
                    _ => "the guard alone drops blocked sources",
                };
                // Where nobody has set it up, there is nothing to say.
                if was_up || self.kernel == Kernel::Nftables || self.said[0].is_some() {
                    self.say(0, format!("{why}; {instead}"));
                }
                false
            }
            // Not the time to try it again.
            None => false,
        }
    }

    /// Says it unless that was said last.
    fn say(&mut self, of: usize, line: String) {
        if self.said[of].as_ref() != Some(&line) {
            (self.tell)(&format!("shield: {line}"));
            self.said[of] = Some(line);
        }
    }
}

fn ask(shard: &Controller<Shard>, control: Control) -> Result<Reply, ControlError> {
    shard.give(control)?.wait(REPLY_MAX)
}

/// What any shard has on its list.
fn all_blocks(controllers: &[Controller<Shard>]) -> Result<Vec<BlockItem>, ControlError> {
    let mut found: BTreeMap<IpNet, BlockItem> = BTreeMap::new();
    for shard in controllers {
        let mut after = None;
        // As many pages as a full list has, whatever happens to it meanwhile.
        for _ in 0..=(BLACKLIST_MAX + RESTRAINTS_MAX) / BLOCKS_PER_CALL_MAX {
            let Reply::Blocks(BlockPage { items, next, .. }) = ask(shard, Control::Blocks(after))?
            else {
                return Err(ControlError::Stopped);
            };
            for item in items {
                // One shard may not have heard yet that it is blocked whole.
                let place = found.entry(item.network).or_insert(item);
                if item.whole && !place.whole {
                    *place = item;
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(found.into_values().collect())
}
