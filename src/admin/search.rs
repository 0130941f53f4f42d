//! Pages and counts of registrations, put together from what all shards give side by side, within
//! a time that people do not notice. What has not been reached by then is for the next page.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::filters::Filters;
use super::pages::Page;
use super::problem::Problem;
use super::query::{Cursor, decimal};
use super::registrations::{show, unexpected};
use super::row::Row;
use crate::limits::FIND_ROWS_MAX;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::filter::{Filter, Number};
use crate::shard::registrations::{Shown, Unfound};
use crate::shard::search::{self, Find};
use crate::shard::tally::Levels;

/// How long a page is looked for, or a number counted; what has been found by then is given.
const SEARCH_MAX: Duration = Duration::from_millis(140);
/// Rounds of orders in a row before shards are left alone for [`PAUSE`]: a search takes a share of
/// their time, however long it goes on.
const ROUNDS_BETWEEN_PAUSES: u32 = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// Registrations that match, from a cursor on, `limit` at most.
///
/// # Errors
/// A cursor that is none of these filters', or shards that do not answer.
pub(super) async fn page(
    api: &Api,
    filters: &Filters,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<Row>, Problem> {
    let wrong = || Problem::parameter("cursor", "cursor: expected the next of the page before");
    if api.shards.count() == 0 {
        return Err(Problem::unavailable("the reactor has stopped"));
    }
    if let Some(accounts) = named(api, filters).await? {
        let from = match cursor {
            None => Cursor::FIRST,
            Some(text) => Cursor::read(text, u8::try_from(accounts.len()).unwrap_or(u8::MAX))
                .ok_or_else(wrong)?,
        };
        return of_accounts(api, filters, &accounts, from, limit).await;
    }
    let places = match cursor {
        None => Places::first(api.shards.count()),
        Some(text) => Places::read(text, api.shards.count()).ok_or_else(wrong)?,
    };
    let mut sweep = Sweep::new(api, filters.filter(), places);
    let until = Instant::now() + SEARCH_MAX;
    let mut items = Vec::new();
    while items.len() < limit && sweep.goes_on() && (sweep.rounds == 0 || Instant::now() < until) {
        sweep.round(limit - items.len(), &mut items).await?;
    }
    let next = sweep.goes_on().then(|| sweep.places.text());
    let partial = items.len() < limit && next.is_some();
    Ok(Page { items, next, partial })
}

/// How many registrations match.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub(super) struct Counted {
    /// So many, or about so many.
    pub count: u64,
    /// There was no time to look at all; what was seen is taken for the rest as well.
    pub estimated: bool,
}

/// Counts the registrations that match, or estimates them where there are too many to look at.
///
/// # Errors
/// Shards that do not answer.
pub(super) async fn count(api: &Api, filters: &Filters) -> Result<Counted, Problem> {
    if filters.is_empty() {
        let count = levels(api).await?.iter().map(|shard| shard.bindings).sum();
        return Ok(Counted { count, estimated: false });
    }
    if let Some(accounts) = named(api, filters).await? {
        let mut count = 0;
        for aor in &accounts {
            count += of_account(api, filters, aor).await?.rows();
        }
        return Ok(Counted { count, estimated: false });
    }
    let mut sweep = Sweep::new(api, filters.filter(), Places::first(api.shards.count()));
    let until = Instant::now() + SEARCH_MAX;
    while sweep.goes_on() && (sweep.rounds == 0 || Instant::now() < until) {
        sweep.round(0, &mut Vec::new()).await?;
    }
    Ok(sweep.counted())
}

/// How much each shard holds.
///
/// # Errors
/// Shards that do not answer.
pub(super) async fn levels(api: &Api) -> Result<Vec<Levels>, Problem> {
    let orders = (0..api.shards.count()).map(|at| api.shards.order(ShardId(at), Control::Count));
    let counted = side_by_side(orders).await.into_iter().map(|reply| match reply? {
        Reply::Counted(tally) => Ok(tally.levels),
        _ => Err(unexpected()),
    });
    counted.collect()
}

/// Some of all registrations, account by account, from the places on; an account with several may
/// go on behind them.
///
/// # Errors
/// Shards that do not answer.
pub(super) async fn dump(
    api: &Api,
    places: &mut Places,
    room: usize,
) -> Result<Vec<(ShardId, search::Page)>, Problem> {
    let everybody = Number { text: Box::default(), is_prefix: true };
    let filter = Arc::new(Filter { numbers: vec![everybody], ..Filter::default() });
    let mut sweep = Sweep::new(api, &filter, places.clone());
    let pages = sweep.ask(room).await?;
    *places = sweep.places;
    Ok(pages)
}

/// The accounts that filters name, each once, where they can be asked for one by one.
pub(super) async fn named(api: &Api, filters: &Filters) -> Result<Option<Vec<Box<[u8]>>>, Problem> {
    let numbers = &filters.filter().numbers;
    let written: Vec<&[u8]> = if !filters.accounts().is_empty() {
        filters.accounts().iter().map(|aor| &**aor).collect()
    } else if numbers.is_empty() || numbers.iter().any(|number| number.is_prefix) {
        return Ok(None);
    } else {
        // Where one domain is served, a number is an account.
        if locate(api, b"0").await? == Err(Unfound::Malformed) {
            return Ok(None);
        }
        numbers.iter().map(|number| &*number.text).collect()
    };
    let located = side_by_side(written.iter().map(|aor| locate(api, aor))).await;
    let mut accounts: Vec<Box<[u8]>> = Vec::with_capacity(written.len());
    for (aor, located) in written.into_iter().zip(located) {
        // What is no account's name is refused, or found to be nobody's, when its turn comes.
        let name = located?.unwrap_or_else(|_| aor.into());
        if !accounts.contains(&name) {
            accounts.push(name);
        }
    }
    Ok(Some(accounts))
}

async fn locate(api: &Api, aor: &[u8]) -> Result<Result<Box<[u8]>, Unfound>, Problem> {
    let located = api.shards.order_owner(Control::Locate(aor.into()), |reply| match reply {
        Reply::Located(located) => Some(located),
        _ => None,
    });
    Ok(located.await?.1)
}

/// What one account has of what is wanted.
pub(super) enum Found {
    /// Registrations, in the order of their slots.
    Registrations(ShardId, Shown),
    /// It has none, which is what was asked for.
    Absent(ShardId, Box<[u8]>),
    /// Nothing.
    Nothing,
}

impl Found {
    fn rows(&self) -> u64 {
        match self {
            Found::Registrations(_, shown) => shown.registrations.len() as u64,
            Found::Absent(..) => 1,
            Found::Nothing => 0,
        }
    }
}

/// Looks at one account.
pub(super) async fn of_account(api: &Api, filters: &Filters, aor: &[u8]) -> Result<Found, Problem> {
    let (shard, shown) = show(api, aor.into()).await?;
    let mut shown = match shown {
        Ok(shown) => shown,
        Err(Unfound::Malformed) => {
            let name = if filters.value("aor").is_some() { "aor" } else { "account" };
            return Err(Problem::parameter(name, format!("{name}: expected user@domain")));
        }
        // Nobody there has a registration.
        Err(Unfound::Owner(_) | Unfound::Domain | Unfound::Account) => return Ok(Found::Nothing),
    };
    if filters.is_for_absent() {
        let wanted = shown.registrations.is_empty() && filters.filter().matches_account(&shown.aor);
        return Ok(if wanted { Found::Absent(shard, shown.aor) } else { Found::Nothing });
    }
    let now = shown.now;
    shown.registrations.retain(|one| filters.is_wanted(now, one));
    shown.registrations.sort_by_key(|one| one.id.index);
    Ok(Found::Registrations(shard, shown))
}

/// Goes through accounts one by one. The cursor's shard is the number of the account among them.
async fn of_accounts(
    api: &Api,
    filters: &Filters,
    accounts: &[Box<[u8]>],
    from: Cursor<u32>,
    limit: usize,
) -> Result<Page<Row>, Problem> {
    let mut items = Vec::new();
    let mut place = from.place;
    for (aor, nth) in accounts.iter().zip(0..).skip(from.shard.into()) {
        let full = |place| {
            let next = Some(Cursor { shard: nth, place }.text());
            Page { items: Vec::new(), next, partial: false }
        };
        if items.len() == limit {
            return Ok(Page { items, ..full(0) });
        }
        match of_account(api, filters, aor).await? {
            Found::Registrations(shard, shown) => {
                for one in shown.registrations.iter().filter(|one| one.id.index >= place) {
                    if items.len() == limit {
                        return Ok(Page { items, ..full(one.id.index) });
                    }
                    items.push(Row::new(&api.shards, shard, shown.now, one));
                }
            }
            Found::Absent(shard, aor) => items.push(Row::absent(shard, &aor)),
            Found::Nothing => {}
        }
        place = 0;
    }
    Ok(Page { items, next: None, partial: false })
}

/// Where each shard goes on; `None` where it has given all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places(pub Vec<Option<u64>>);

impl Places {
    pub fn first(shards: u8) -> Places {
        Places(vec![Some(0); shards.into()])
    }

    /// Takes back what [`Places::text`] gave.
    pub fn read(text: &str, shards: u8) -> Option<Places> {
        let places: Option<Vec<Option<u64>>> = text
            .split('.')
            .map(|place| if place == "-" { Some(None) } else { decimal(place).map(Some) })
            .collect();
        let good = |places: &Vec<_>| {
            places.len() == usize::from(shards) && places.iter().any(Option::is_some)
        };
        places.filter(good).map(Places)
    }

    /// Whether a shard has not given all.
    pub fn go_on(&self) -> bool {
        self.going() > 0
    }

    fn going(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub fn text(&self) -> String {
        let places = self.0.iter().map(|place| match place {
            Some(place) => place.to_string(),
            None => "-".to_owned(),
        });
        places.collect::<Vec<_>>().join(".")
    }
}

/// Goes through the tables of all shards side by side, a round of orders at a time.
pub(super) struct Sweep<'a> {
    api: &'a Api,
    filter: Arc<Filter>,
    pub places: Places,
    pub rounds: u32,
    matched: u64,
    seen: Vec<u64>,
    table: Vec<u64>,
}

impl<'a> Sweep<'a> {
    pub fn new(api: &'a Api, filter: &Arc<Filter>, places: Places) -> Sweep<'a> {
        let shards = places.0.len();
        let (seen, table) = (vec![0; shards], vec![0; shards]);
        let filter = Arc::clone(filter);
        Sweep { api, filter, places, rounds: 0, matched: 0, seen, table }
    }

    /// Whether a shard has not given all.
    pub fn goes_on(&self) -> bool {
        self.places.go_on()
    }

    /// One order to each shard that goes on, for `room` rows together; none: they are counted.
    pub async fn round(&mut self, room: usize, items: &mut Vec<Row>) -> Result<(), Problem> {
        for (shard, page) in self.ask(room).await? {
            items.extend(Row::rows(&self.api.shards, shard, page.now, &page.registrations));
            items.extend(page.absent.iter().map(|aor| Row::absent(shard, aor)));
        }
        Ok(())
    }

    /// The pages that the shards give for such orders, `room` rows together at most. A row for
    /// which there is no room is given again the next time.
    pub async fn ask(&mut self, room: usize) -> Result<Vec<(ShardId, search::Page)>, Problem> {
        let rows_max = room.div_ceil(self.places.going().max(1)).min(FIND_ROWS_MAX);
        let mut pages = self.order(Find { rows_max, ..Find::default() }).await?;
        let mut left = room;
        for (shard, page) in &mut pages {
            if let Some(place) = page.places.get(left) {
                self.places.0[usize::from(shard.0)] = Some(*place);
                page.registrations.truncate(left);
                page.absent.truncate(left);
                page.places.truncate(left);
            }
            left -= page.places.len();
        }
        Ok(pages)
    }

    /// The same for the names of bindings that phones have made, as many as there are.
    pub async fn ask_names(&mut self) -> Result<Vec<(ShardId, search::Page)>, Problem> {
        self.order(Find { names: true, ..Find::default() }).await
    }

    async fn order(&mut self, find: Find) -> Result<Vec<(ShardId, search::Page)>, Problem> {
        if self.rounds > 0 && self.rounds.is_multiple_of(ROUNDS_BETWEEN_PAUSES) {
            sleep(PAUSE).await;
        }
        self.rounds += 1;
        let going = self.places.0.iter().zip(0..);
        let going: Vec<(u8, u64)> =
            going.filter_map(|(place, shard)| Some((shard, (*place)?))).collect();
        let orders = going.iter().map(|&(shard, from)| {
            let find = Find { filter: Arc::clone(&self.filter), from, ..find.clone() };
            self.api.shards.order(ShardId(shard), Control::Find(find))
        });
        let replies = side_by_side(orders).await;
        let mut pages = Vec::with_capacity(going.len());
        for ((shard, _), reply) in going.into_iter().zip(replies) {
            let Reply::Found(page) = reply? else { return Err(unexpected()) };
            let at = usize::from(shard);
            self.matched += page.matched;
            self.seen[at] += page.seen;
            self.table[at] = page.table;
            self.places.0[at] = page.next;
            pages.push((ShardId(shard), page));
        }
        Ok(pages)
    }

    fn counted(&self) -> Counted {
        let estimated = self.goes_on();
        let (seen, table): (u64, u64) = (self.seen.iter().sum(), self.table.iter().sum());
        let count = match estimated {
            true => u128::from(self.matched) * u128::from(table) / u128::from(seen.max(1)),
            false => self.matched.into(),
        };
        Counted { count: u64::try_from(count).unwrap_or(u64::MAX), estimated }
    }
}

/// Waits for all of them at once; what they give, in their order.
pub(super) async fn side_by_side<T, F: Future<Output = T>>(
    futures: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut given: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, given) in waiting.iter_mut().zip(&mut given) {
            if given.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *given = Some(value);
            }
        }
        if given.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    given.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_all_shards_come_back_from_their_text() {
        let places = Places(vec![Some(12), None, Some(u64::MAX)]);
        assert_eq!(places.text(), format!("12.-.{}", u64::MAX));
        assert_eq!(Places::read(&places.text(), 3), Some(places));
        for bad in ["", "1.2", "1.2.3.4", "-.-.-", "1.2.x", "1.2.+3", "1.2.18446744073709551616"] {
            assert_eq!(Places::read(bad, 3), None, "{bad}");
        }
    }

    #[test]
    fn futures_that_wait_for_each_other_are_all_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut ends = (Some(receiver), Some(sender));
        let futures = [0, 1].map(|nth| {
            let ends = if nth == 0 { (ends.0.take(), None) } else { (None, ends.1.take()) };
            async move {
                match ends {
                    (Some(receiver), _) => receiver.await.unwrap(),
                    (_, Some(sender)) => {
                        sender.send(7).unwrap();
                        8
                    }
                    _ => unreachable!(),
                }
            }
        });
        assert_eq!(runtime.block_on(side_by_side(futures)), [7, 8]);
    }
}
