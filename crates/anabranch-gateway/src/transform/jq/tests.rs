use bytes::Bytes;

use super::*;

fn run(program: &str, input: &str) -> Result<String, String> {
    let jq = Jq::compile(program).map_err(|faults| format!("{faults:?}"))?;
    let context = anabranch::Compute::inline();
    let _ = context;
    let room = Room::on_loop(1 << 20);
    let output = jq.run(&Input::Value(Bytes::copy_from_slice(input.as_bytes())), &[], &room);
    output.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).map_err(|failure| format!("{failure}"))
}

#[test]
fn smoke() {
    for program in ["1 + 1", "[.[] | . * 2]", "map(select(. > 1)) | add", "def f: f; f", "def f: 1 + f; f", "[range(1e12)]", "\"a\" * 1e9"] {
        println!("{program}: {:?}", run(program, "[1,2,3]"));
    }
}
