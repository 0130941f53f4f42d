//! Which pages there are, in the order they are shown.

use super::super::operator::Role;

/// Pages that belong together.
pub(super) struct Group {
    pub name: &'static str,
    pub pages: &'static [Entry],
}

/// A page.
pub(super) struct Entry {
    pub path: &'static str,
    pub label: &'static str,
    /// Who may open it.
    pub role: Role,
}

const fn page(path: &'static str, label: &'static str) -> Entry {
    Entry { path, label, role: Role::Read }
}

const fn admin_page(path: &'static str, label: &'static str) -> Entry {
    Entry { role: Role::Admin, ..page(path, label) }
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "Now",
        pages: &[page("/", "Overview"), page("/latency", "Latency"), page("/trends", "Trends")],
    },
    Group {
        name: "Phones",
        pages: &[
            page("/registrations", "Registrations"),
            page("/online", "Online phones"),
            page("/failed", "Failed"),
            page("/history", "History"),
            page("/unregister/run", "Running removal"),
        ],
    },
    Group {
        name: "Analysis",
        pages: &[page("/devices", "Devices"), page("/geography", "Countries")],
    },
    Group {
        name: "Protection",
        pages: &[
            page("/suspended", "Suspended"),
            page("/blocked", "Blocked"),
            page("/events", "Security events"),
        ],
    },
    Group {
        name: "System",
        pages: &[
            page("/parameters", "Parameters"),
            admin_page("/audit", "Audit"),
            admin_page("/operators", "Operators"),
        ],
    },
];
