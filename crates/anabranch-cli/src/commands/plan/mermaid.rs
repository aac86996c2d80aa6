//! Routes as a Mermaid flowchart: a box for each call, an arrow from what it waits for, the critical path drawn bold.

use std::fmt::Write;

use anabranch_gateway::plan::{Plan, RoutePlan};

use super::{call, text};

/// Draws the routes as one chart, each in a frame of its own.
pub(super) fn draw(plan: &Plan, routes: &[&RoutePlan]) -> String {
    let mut chart = "flowchart LR\n".to_owned();
    for (number, route) in routes.iter().enumerate() {
        chart.push_str(&one(plan, route, number));
    }
    chart.push_str("  classDef critical stroke-width:4px\n");
    chart
}

fn one(plan: &Plan, route: &RoutePlan, number: usize) -> String {
    let bounds = plan.bounds(route);
    let id = |call: usize| format!("r{number}c{call}");
    let mut chart = format!("  subgraph r{number}[\"{}\"]\n", quoted(&text::title(route)));
    for (index, bounds) in bounds.calls.iter().enumerate() {
        let call = &route.calls[index];
        let lines = [
            call.name.to_string(),
            plan.does(call),
            call::requests(*bounds),
            call::attempts(call, *bounds),
        ];
        let shown: Vec<String> = lines
            .iter()
            .filter(|line| !line.is_empty() && *line != "1")
            .map(|line| quoted(line))
            .collect();
        let _ = writeln!(chart, "    {}[\"{}\"]", id(index), shown.join("<br/>"));
    }
    let _ = writeln!(chart, "    r{number}reply([reply])");
    if let Some(proxy) = &route.proxy {
        let source = quoted(&plan.sources[proxy.request.source].name);
        let _ = writeln!(chart, "    r{number}proxy[\"passed to {source}\"]");
        let _ = writeln!(chart, "    r{number}proxy ==> r{number}reply");
    }
    for (index, call) in route.calls.iter().enumerate() {
        for wait in &call.waits {
            let _ = writeln!(chart, "    {} --> {}", id(*wait), id(index));
        }
        for other in (0..route.calls.len()).filter(|&other| call::is_else_of(route, index, other)) {
            let _ = writeln!(chart, "    {} -. fails .-> {}", id(other), id(index));
            // Whoever waits for that one takes what stands in for it.
            for waits in (0..route.calls.len()).filter(|&waits| route.calls[waits].waits.contains(&other)) {
                let _ = writeln!(chart, "    {} -.-> {}", id(index), id(waits));
            }
            if route.calls[other].is_part {
                let _ = writeln!(chart, "    {} -.-> r{number}reply", id(index));
            }
        }
        // What the reply cannot do without comes in by a thick arrow.
        let arrow = if call::is_needed(route, index) { "==>" } else { "-->" };
        if let Some(into) = call.list.as_ref().and_then(|list| list.into.as_ref()).filter(|_| call.is_told) {
            let _ = writeln!(
                chart,
                "    {} {arrow}|into {}| r{number}reply",
                id(index),
                quoted(&route.calls[into.call].name)
            );
        } else if call.is_part {
            let _ = writeln!(chart, "    {} {arrow} r{number}reply", id(index));
        }
    }
    chart.push_str("  end\n");
    if !bounds.critical_path.is_empty() {
        let critical: Vec<String> = bounds.critical_path.iter().map(|&call| id(call)).collect();
        let _ = writeln!(chart, "  class {} critical", critical.join(","));
    }
    chart
}

/// Text between quotes, with what means something there as entities.
fn quoted(text: &str) -> String {
    text.replace('#', "#35;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('>', "#gt;")
}
