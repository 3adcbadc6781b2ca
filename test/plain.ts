// What every test file runs first: colours off, whatever the terminal or the CI asks for, because
// tests compare the text that commands print. The programs that tests start inherit it.
delete process.env["FORCE_COLOR"];
delete process.env["CI"];
process.env["NO_COLOR"] = "1";
