//! What operators make of what is registered: by which devices, from where, over what; when
//! something is out of the ordinary; and how much more the host could take.
//!
//! - [`device`]: what a User-Agent says of a phone; [`place`]: where an address is, by databases of
//!   the operator's; `counts`: bounded tables; `survey`: one pass over all bindings; `rows`: what
//!   it counted; `pass`: when passes are made, and how slowly, so that no message waits for one
//! - [`alerts`]: what is out of the ordinary, and who is told; [`capacity`]: how much more could
//!   come
//! - `breakdown`: `/api/v1/devices`, `/api/v1/geography`, `/api/v1/breakdown`, and the functions
//!   behind them for whoever shows the same in another form; `table`: rows as CSV
//!
//! Nothing of it is kept beyond the process, and nothing of it runs where messages are answered.

pub(super) mod alerts;
pub(super) mod breakdown;
pub(super) mod capacity;
mod counts;
pub(super) mod device;
mod pass;
pub(super) mod place;
pub(super) mod rows;
pub(super) mod survey;
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use self::alerts::Alerts;
use self::capacity::Capacity;
use self::pass::Kept;
use super::api::Api;
use super::routes::Routes;
use crate::config;

pub use self::alerts::check as check_webhook;
pub(super) use self::breakdown::{SurveyAbout, breakdown, devices, geography};
pub use self::place::{Places, PlacesError};
pub(super) use self::rows::{DeviceRow, Row as ShareRow};
pub(super) use self::survey::By;

/// What the analysis obeys, which a reload may change.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Its settings.
    pub analysis: config::Analysis,
    /// Registrations there may be, if that is limited.
    pub bindings_max: Option<u32>,
    /// Connections there may be, where any are taken.
    pub connections_max: Option<u32>,
    /// Networks whose sources may have as many registrations as they like.
    pub trusted: Vec<IpNet>,
}

/// What the analysis begins with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What it obeys from now on.
    pub terms: Terms,
    /// The databases of places that were read at the start.
    pub places: Places,
}

/// What is known at any moment; clones of the [`Api`] share it.
pub(super) struct Analysis {
    terms: watch::Sender<Terms>,
    places: watch::Sender<Places>,
    /// What the last pass that is over has counted.
    survey: watch::Sender<Option<Arc<Kept>>>,
    /// Somebody waits for another pass.
    wanted: Notify,
    /// Bindings that the pass under way has met, and one; 0 while there is none.
    met: AtomicU64,
    pub alerts: Alerts,
    capacity: watch::Sender<Option<Arc<Capacity>>>,
}

impl Analysis {
    pub fn new(settings: Settings) -> Analysis {
        Analysis {
            terms: watch::Sender::new(settings.terms),
            places: watch::Sender::new(settings.places),
            survey: watch::Sender::new(None),
            wanted: Notify::new(),
            met: AtomicU64::new(0),
            alerts: Alerts::new(),
            capacity: watch::Sender::new(None),
        }
    }

    /// Other terms from now on.
    pub fn obey(&self, terms: Terms, places: Places) {
        self.terms.send_replace(terms);
        self.places.send_replace(places);
    }

    /// The databases of places there are.
    pub fn places(&self) -> Places {
        self.places.borrow().clone()
    }

    fn terms(&self) -> Terms {
        self.terms.borrow().clone()
    }
}

/// Its paths.
pub(super) fn routes() -> Routes {
    breakdown::routes().merge(alerts::routes()).merge(capacity::routes())
}

/// Does what goes on beside the requests, for as long as the interface serves.
pub(super) async fn run(api: Api) {
    tokio::join!(pass::make(api.clone()), alerts::run(api));
}
