//! `stub-llm PORT LOG`: the model of the tests, by hand. What it answers to which words is in
//! `plan.rs`; LOG gets a line of JSON a question and one at its end.

#[path = "mod.rs"]
#[allow(dead_code, unused_imports, reason = "tests use what the program does not")]
mod stub_llm;

use std::process::ExitCode;
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, log] = &args[..] else {
        eprintln!("usage: stub-llm PORT LOG");
        return ExitCode::from(2);
    };
    match run(port, log).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("stub-llm: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn run(port: &str, log: &str) -> Result<(), Box<dyn std::error::Error>> {
    let log = Arc::new(stub_llm::Log::to_file(log.as_ref())?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    println!("http://{}", listener.local_addr()?);
    stub_llm::serve(listener, log).await?;
    Ok(())
}
