//! Routes as tables: a row for each call, level by level, and below what they come to.

use anabranch_gateway::plan::{Plan, ProxyPlan, RouteBounds, RoutePlan};

use super::call;

const HEADINGS: [&str; 6] = ["call", "does", "requests", "attempts", "longest", "remarks"];

/// Draws the routes one below the other.
pub(super) fn draw(plan: &Plan, routes: &[&RoutePlan]) -> String {
    let routes: Vec<String> = routes.iter().map(|route| one(plan, route)).collect();
    routes.join("\n")
}

fn one(plan: &Plan, route: &RoutePlan) -> String {
    if let Some(proxy) = &route.proxy {
        return passed(plan, route, proxy);
    }
    let bounds = plan.bounds(route);
    let rows: Vec<[String; 6]> = (0..route.calls.len()).map(|index| row(plan, route, &bounds, index)).collect();
    let widths = widths(&rows);
    let mut lines = vec![title(route), String::new(), line(&HEADINGS.map(str::to_owned), &widths)];
    for (number, level) in bounds.levels.iter().enumerate() {
        let meaning = if number == 0 {
            "at once"
        } else {
            "each when the calls before it have ended"
        };
        lines.push(format!("level {}, {meaning}", number + 1));
        lines.extend(level.iter().map(|&index| line(&rows[index], &widths)));
    }
    lines.push(String::new());
    lines.extend(sums(route, &bounds));
    lines.push(String::new());
    lines.join("\n")
}

/// A route that is passed through: where to, and what bounds it.
fn passed(plan: &Plan, route: &RoutePlan, proxy: &ProxyPlan) -> String {
    let has_body = !matches!(route.method.as_str(), "GET" | "HEAD");
    let bytes = |most: Option<u64>| most.map_or("any size".to_owned(), |most| format!("at the most {}", size(most)));
    let rows = [
        ("passed to", plan.sources[proxy.request.source].name.to_string()),
        ("attempts", (proxy.retry + 1).to_string()),
        (
            "request body",
            if has_body { bytes(Some(route.body_max)) } else { "none".to_owned() },
        ),
        ("answer", bytes(proxy.max_body)),
        ("kept", if proxy.keep.is_some() { "as it says" } else { "no" }.to_owned()),
        ("head within", call::brief(proxy.first_byte)),
        ("each piece within", call::brief(proxy.body_idle)),
    ];
    let mut lines = vec![title(route), String::new()];
    lines.extend(rows.map(|(what, value)| format!("  {what:17}  {value}")));
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn title(route: &RoutePlan) -> String {
    let grace = route
        .grace
        .map(|grace| format!(", grace {}", call::brief(grace)))
        .unwrap_or_default();
    let deadline = if route.has_deadline() {
        format!("deadline {}", call::brief(route.deadline))
    } else {
        "no deadline".to_owned()
    };
    format!("{} {}, {deadline}{grace}", route.method, route.pattern)
}

fn row(plan: &Plan, route: &RoutePlan, bounds: &RouteBounds, index: usize) -> [String; 6] {
    let (call, bounds) = (&route.calls[index], bounds.calls[index]);
    // What takes longer than the deadline is cut by it.
    let longest = match bounds.requests {
        0 => String::new(),
        _ => call::brief(bounds.longest.unwrap_or(route.deadline).min(route.deadline)),
    };
    let remarks = call::remarks(route, index).join("; ");
    [
        call.name.to_string(),
        plan.does(call),
        call::requests(bounds),
        call::attempts(call, bounds),
        longest,
        remarks,
    ]
}

/// What all calls come to.
fn sums(route: &RoutePlan, bounds: &RouteBounds) -> Vec<String> {
    let path: Vec<&str> = bounds.critical_path.iter().map(|&call| &*route.calls[call].name).collect();
    let all: usize = bounds.calls.iter().map(|call| call.requests).sum();
    let capped = if all > bounds.requests {
        format!(" (`max_calls`; without it {all})")
    } else {
        String::new()
    };
    let time = bounds.longest.min(route.deadline);
    let cut = if bounds.longest > route.deadline {
        format!(" (the deadline; without it {})", call::brief(bounds.longest))
    } else {
        String::new()
    };
    let as_late = match bounds.as_late {
        0 => String::new(),
        1 => " (another may end as late)".to_owned(),
        others => format!(" ({others} others may end as late)"),
    };
    vec![
        format!("critical path: {}{as_late}", path.join(", ")),
        format!(
            "at the most: {}{capped}, {}, {}{cut}",
            number(bounds.requests, "request"),
            number(bounds.attempts, "attempt"),
            call::brief(time)
        ),
    ]
}

/// A size as it is written in a config where it is a whole number of its units.
fn size(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let whole = units.into_iter().find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or(format!("{bytes} bytes"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn widths(rows: &[[String; 6]]) -> [usize; 6] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("  {}", cells.join("  ")).trim_end().to_owned()
}
