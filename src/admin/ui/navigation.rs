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
    Group { name: "Now", pages: &[page("/", "Overview"), page("/latency", "Latency")] },
    Group {
        name: "Phones",
        pages: &[page("/registrations", "Registrations"), page("/online", "Online phones")],
    },
    Group {
        name: "Protection",
        pages: &[page("/suspended", "Suspended"), page("/blocked", "Blocked")],
    },
    Group { name: "System", pages: &[admin_page("/operators", "Operators")] },
];
