//! When the bindings are gone through, and how slowly: a page of one shard at a time with a pause
//! behind it, so that a pass over a million takes most of a minute and half a percent of one
//! reactor. A pass that a shard does not answer goes on where it was.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::select;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::api::Api;
use super::super::plain::one_line;
use super::super::problem::Problem;
use super::super::registrations::unexpected;
use super::survey::{Pass, Survey};
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::search::Find;
use crate::time::UnixTime;

/// Behind a page there is a pause of so long for each of its rows: 20 thousand rows a second.
const PAUSE_PER_ROW: Duration = Duration::from_micros(50);
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The first pass, so that a start has its time for itself.
const FIRST_AFTER: Duration = Duration::from_secs(10);
/// Whoever asks is given what is not older than this, or than ten passes take.
const FRESH: Duration = Duration::from_secs(10);
const FRESH_PASSES: u32 = 10;
/// As long somebody waits for a pass that is under way.
const WAIT_MAX: Duration = Duration::from_millis(1500);
/// A shard that does not answer is asked again so often, after so long.
const AGAIN_MAX: u32 = 10;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A survey, and when it was over.
pub(super) struct Kept {
    pub survey: Survey,
    pub at: Instant,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH.max(self.survey.took * FRESH_PASSES)
    }
}

/// What the last pass has counted, made just now if that is old and there is time for one; `None`
/// before the first one is over.
pub(super) async fn looked(api: &Api) -> Option<Arc<Kept>> {
    let analysis = &api.analysis;
    let mut seen = analysis.survey.subscribe();
    let last = seen.borrow_and_update().clone();
    if api.shards.count() == 0 || last.as_ref().is_some_and(|kept| kept.is_fresh()) {
        return last;
    }
    analysis.wanted.notify_one();
    // What there is will do for whoever cannot wait longer.
    let _ = timeout(WAIT_MAX, seen.changed()).await;
    analysis.survey.borrow().clone()
}

/// Makes passes for as long as the interface serves.
pub(super) async fn make(api: Api) {
    let analysis = &api.analysis;
    let mut due = Instant::now() + FIRST_AFTER;
    let mut complained = String::new();
    loop {
        let interval_s = analysis.terms().analysis.interval_s;
        select! {
            () = sleep_until(due), if interval_s.is_some() => {}
            () = analysis.wanted.notified() => {}
        }
        if let Err(complaint) = read_places(&api).await
            && complaint != complained
        {
            (api.told)(&one_line(&complaint));
            complained = complaint;
        }
        analysis.met.store(1, Ordering::Relaxed);
        let made = pass(&api).await;
        analysis.met.store(0, Ordering::Relaxed);
        if let Ok(survey) = made {
            analysis.survey.send_replace(Some(Arc::new(Kept { survey, at: Instant::now() })));
        }
        let interval = interval_s.unwrap_or(config_interval_max());
        due = Instant::now() + Duration::from_secs(interval.into());
    }
}

/// Where passes are made on request alone, nothing waits for this.
const fn config_interval_max() -> u32 {
    86_400
}

/// Reads the databases whose files have changed, beside everything else this thread does. What
/// cannot be read leaves what there was.
async fn read_places(api: &Api) -> Result<(), String> {
    let files = api.analysis.terms().analysis.databases;
    let before = api.analysis.places.borrow().clone();
    let read = spawn_blocking(move || before.again(&files)).await;
    let now = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if !now.are(&api.analysis.places.borrow()) {
        let kinds: Vec<String> =
            now.about().into_iter().map(|one| format!("{} of {}", one.kind, one.built)).collect();
        (api.told)(&one_line(&format!("geo.database: {} read again", kinds.join(", "))));
        api.analysis.places.send_replace(now);
    }
    Ok(())
}

/// One pass over the bindings of all shards.
async fn pass(api: &Api) -> Result<Survey, Problem> {
    let begun = Instant::now();
    let lookup = api.analysis.places.borrow().lookup();
    let (mut pass, mut ended) = (Pass::new(lookup), UnixTime(0));
    for shard in 0..api.shards.count() {
        let (mut from, mut failed) = (Some(Find::default().from), 0);
        while let Some(at) = from {
            let find = Find { from: at, ..Find::default() };
            let page = match api.shards.order(ShardId(shard), Control::Find(find)).await {
                Ok(Reply::Found(page)) => page,
                Ok(_) => return Err(unexpected()),
                Err(problem) => {
                    failed += 1;
                    if failed > AGAIN_MAX {
                        return Err(problem);
                    }
                    sleep(AGAIN_AFTER).await;
                    continue;
                }
            };
            failed = 0;
            for registration in &page.registrations {
                pass.take(page.now, registration);
            }
            api.analysis.met.store(pass.met() + 1, Ordering::Relaxed);
            (from, ended) = (page.next, page.now.wall);
            let rows = u32::try_from(page.registrations.len()).unwrap_or(u32::MAX);
            sleep((PAUSE_PER_ROW * rows).max(PAUSE_MIN)).await;
        }
    }
    Ok(pass.end(ended, begun.elapsed()))
}
