//! `/init`: the program without what only a head needs. The linker leaves out
//! what `init_main` does not reach.

fn main() -> std::process::ExitCode {
    xget::init_main()
}
