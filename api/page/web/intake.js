// How photos come to the page: dropped, pasted, chosen, or a sample.
import { at, el } from "./dom.js";
import { root } from "./server.js";

const samples = [
  ["banana.jpg", "a drawn banana"],
  ["pizza.jpg", "a drawn pizza"],
  ["jellyfish.jpg", "a drawn jellyfish"],
  ["sideways.jpg", "a drawn basketball, by a camera held sideways"],
];

/** @param {(files: File[]) => void} take */
export function listenForPhotos(take) {
  const drop = at("drop", HTMLElement);
  const choose = at("file", HTMLInputElement);
  drop.addEventListener("click", () => choose.click());
  drop.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" && e.key !== " ") return;
    e.preventDefault();
    choose.click();
  });
  choose.addEventListener("change", () => {
    take([...(choose.files ?? [])]);
    choose.value = "";
  });
  addEventListener("dragover", (e) => {
    e.preventDefault(); // else the browser leaves for the file
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (e) => {
    e.preventDefault();
    drop.classList.remove("over");
    take([...(e.dataTransfer?.files ?? [])]);
  });
  addEventListener("paste", (e) => {
    const files = [...(e.clipboardData?.files ?? [])];
    if (!files.length) return;
    e.preventDefault();
    take(files);
  });
  at("samples", HTMLElement).replaceChildren(
    ...samples.map(([name, alt]) => {
      const src = `${root}page/${name}`;
      const open = async () => {
        const r = await fetch(src);
        if (r.ok) take([new File([await r.blob()], name, { type: "image/jpeg" })]);
      };
      return el("button", { type: "button", click: open }, el("img", { src, alt, width: 76, height: 57 }));
    }),
  );
}
