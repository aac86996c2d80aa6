//! `cache`, `stale` and `vary`: how long the answers of a call are kept, and what they depend on.

use anabranch::policy::Times;
use http::{HeaderName, Method};

use super::headers;
use super::model::{Action, KeepPlan};
use super::names::Names;
use super::place::{fault, Text};
use super::settings::Layers;
use crate::config::faults::Faults;
use crate::config::model::{CallConfig, CallSettings, Config};
use crate::config::yaml::{Span, Spanned};

/// Compiles how the answers of a call are kept; None where they are not. What is inherited is left out in silence where it cannot hold,
/// what is written on the call itself is a fault there.
pub(super) fn compile(call: &CallConfig, layers: &Layers<'_>, action: &Action, names: &Names<'_>, faults: &mut Faults) -> Option<KeepPlan> {
    let Action::Http(http) = action else { return None };
    if !matches!(http.method, Method::GET | Method::HEAD) {
        for (key, span) in written(&call.settings) {
            let what = format!("`{key}` for a {} request, whose answers are not kept", http.method);
            fault(faults, span, what, "`get` or `head`; else leave it out");
        }
        return None;
    }
    let times = Times {
        fresh: layers.nearest(|settings| &settings.cache).unwrap_or_default(),
        stale: layers.nearest(|settings| &settings.stale).unwrap_or_default(),
    };
    let own = call.settings.vary.as_deref().map(|written| own_vary(written, names, faults));
    if times == Times::default() {
        if let Some(first) = call.settings.vary.as_ref().and_then(|vary| vary.first()) {
            fault(
                faults,
                first,
                "`vary` without `cache` or `stale`",
                "`cache: 10m` with it, or leave it out",
            );
        }
        return None;
    }
    let vary = own.unwrap_or_else(|| inherited_vary(layers, names));
    Some(KeepPlan { times, vary })
}

/// Reports names in `vary` of sources and of `defaults` that cannot be names of headers.
pub(super) fn check_inherited(config: &Config, faults: &mut Faults) {
    let settings = config.sources.iter().map(|source| &source.settings).chain([&config.defaults]);
    for vary in settings.filter_map(|settings| settings.vary.as_deref()) {
        headers::names(vary, faults);
    }
}

fn written(settings: &CallSettings) -> Vec<(&'static str, Span)> {
    let cache = settings.cache.as_ref().map(|cache| ("cache", cache.span));
    let stale = settings.stale.as_ref().map(|stale| ("stale", stale.span));
    let vary = settings.vary.as_ref().and_then(|vary| Some(("vary", vary.first()?.span)));
    [cache, stale, vary].into_iter().flatten().collect()
}

/// The call's own `vary`, all of which must be let in.
fn own_vary(written: &[Spanned<String>], names: &Names<'_>, faults: &mut Faults) -> Vec<usize> {
    let mut found = Vec::new();
    for written in written {
        let Some(name) = headers::name(Text::of(written), faults) else {
            continue;
        };
        match index(&name, names) {
            Some(index) => found.push(index),
            None => {
                let what = format!("the header `{}` is not let in, so nothing can depend on it", written.value);
                fault(
                    faults,
                    written,
                    what,
                    format!("`headers: [{}]` of the route, or leave it out", written.value),
                );
            }
        }
    }
    found
}

/// That of the source or of `defaults`, as far as this route lets it in.
fn inherited_vary(layers: &Layers<'_>, names: &Names<'_>) -> Vec<usize> {
    let of_source = layers.source.and_then(|source| source.vary.as_deref());
    let nearest = of_source.or(layers.defaults.vary.as_deref()).unwrap_or_default();
    let let_in = |written: &Spanned<String>| index(&HeaderName::from_bytes(written.value.as_bytes()).ok()?, names);
    nearest.iter().filter_map(let_in).collect()
}

fn index(name: &HeaderName, names: &Names<'_>) -> Option<usize> {
    names.headers.iter().position(|header| header == name)
}
