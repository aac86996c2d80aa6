//! Twelve services asked at once: `cargo run --example twelve`. They listen on this machine and answer in 20 to 240 ms; one never
//! does. The page needs the first two and does without any other.

mod servers;

use std::time::Duration;

use anabranch::{Client, Deadline, Join, Settled, Source, call, gather, timed};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = servers::start().await?;
    let source = |(name, server): &servers::Named| Source::http(name, &server.url());
    let sources = servers.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    let client = Client::new();

    let deadline = Deadline::after(Duration::from_millis(2_500));
    let grace = Duration::from_millis(300);
    let mut page = gather(deadline).join(Join::Required { grace });
    for (at, source) in sources.iter().enumerate() {
        let ask = source.on(&client).get(["page", "7"]).query("lang", "en");
        let part = call(&**source.name(), ask.send(deadline));
        page = page.add(if at < 2 { part } else { part.optional() });
    }
    let (report, took) = timed(page.run()).await;

    for (name, settled, took) in &report.outcomes {
        let end = match settled {
            Settled::Done(Ok(response)) => format!("{} {}", response.status(), String::from_utf8_lossy(response.body())),
            Settled::Done(Err(error)) => error.to_string(),
            stopped => format!("{stopped:?}"),
        };
        println!("{name:<9} {:>4} ms  {end}", took.as_millis());
    }
    println!("the page  {:>4} ms  complete: {}", took.as_millis(), report.complete);
    Ok(())
}
