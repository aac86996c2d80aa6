//! `bench`: runs the gateway and its peers on one page of twelve calls and prints what each costs.
//!
//! ```text
//! bench run GATEWAY_BINARY [OUT.json]     everything, interleaved, three rounds (scripts/bench calls this)
//! bench upstream PORT DELAY_MS            twelve services on PORT.. that answer 1 KB of JSON after a delay
//! bench axum LISTEN PORT                  the peer: axum + reqwest, the way most people would write it
//! bench load URL CONNECTIONS SECONDS [RATE]   closed loop, or open loop at RATE requests a second
//! ```

mod axum_peer;
mod load;
mod measure;
mod peers;
mod run;
mod upstream;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", gateway, rest @ ..] => run::run(gateway, rest.first().copied()),
        ["upstream", port, delay] => upstream::serve(number(port), number(delay)),
        ["axum", listen, port] => axum_peer::serve(listen, number(port)),
        ["load", url, connections, seconds, rest @ ..] => {
            let settings = load::Settings { connections: number(connections), seconds: number(seconds), rate: rest.first().map(|rate| number(rate)) };
            println!("{}", load::run(url, &settings).to_json());
        }
        _ => {
            eprintln!("usage: bench run GATEWAY [OUT] | upstream PORT DELAY_MS | axum LISTEN PORT | load URL CONNECTIONS SECONDS [RATE]");
            std::process::exit(2);
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| {
        eprintln!("expected a number, got `{text}`");
        std::process::exit(2);
    })
}
