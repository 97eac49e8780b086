// What a person does with a page of models: TYPED, for each model texts to run, the first also as a dropped file; SPOKEN, a WAV in
// base64 to drop on the first model, or "". What is then seen goes into the title.
const until = (ready) => new Promise((done) => {
  const look = () => (ready() ? done() : setTimeout(look, 20));
  look();
});
const answered = async (section, act) => {
  section.querySelector(".figures").replaceChildren();
  section.querySelector(".error").hidden = true;
  act();
  await until(() => section.querySelector(".figures div") || !section.querySelector(".error").hidden);
  const error = section.querySelector(".error");
  if (!error.hidden) return error.textContent;
  const rows = [...section.querySelectorAll(".figures div")];
  const shown = Object.fromEntries(rows.map((row) => [row.firstChild.textContent, row.lastChild.textContent]));
  shown.logits = [...section.querySelectorAll(".logits td:nth-child(2)")].map((cell) => cell.textContent);
  return shown;
};
const drop = (section, file) => {
  const carried = new DataTransfer();
  carried.items.add(file);
  section.querySelector("h2").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
};
(async () => {
  await until(() => document.querySelectorAll("section .figures div").length && document.querySelectorAll("section").length === TYPED.length);
  const told = [];
  for (const [number, section] of [...document.querySelectorAll("section")].entries()) {
    const seen = { exact: section.querySelector(".exact").textContent, runs: [] };
    seen.microphone = section.querySelector(".microphone").checkVisibility();
    seen.golden = await answered(section, () => section.querySelector(".golden").onchange());
    for (const text of TYPED[number]) {
      section.querySelector(".numbers").value = text;
      seen.runs.push(await answered(section, () => section.querySelector(".run").click()));
    }
    if (TYPED[number].length) {
      seen.dropped = await answered(section, () => drop(section, new File([TYPED[number][0]], "numbers.csv", { type: "text/csv" })));
    }
    if (SPOKEN && !number) {
      const bytes = Uint8Array.from(atob(SPOKEN), (letter) => letter.charCodeAt(0));
      seen.heard = await answered(section, () => drop(section, new File([bytes], "spoken.wav", { type: "audio/wav" })));
    }
    told.push(seen);
  }
  document.title = `TOLD${JSON.stringify(told)}TOLD`;
})();
