"use strict";
const map = document.querySelector("svg.map"), tip = document.querySelector(".tip");
const clips = JSON.parse(document.getElementById("clips").textContent);
const marks = [...map.querySelectorAll(".mark")];
const player = document.querySelector("audio.player") ?? new Audio();
const said = document.querySelector(".said");
let playing = null;
function say(text) { if (said) said.textContent = text; }
function focusVoice(voice) {
  map.classList.toggle("focused", voice !== null);
  for (const mark of marks) mark.classList.toggle("on", mark.dataset.voice === voice);
}
function point(mark) {
  const frame = tip.parentElement.getBoundingClientRect(), box = mark.getBoundingClientRect();
  tip.textContent = mark.dataset.label;
  const half = Math.min(tip.offsetWidth / 2, frame.width / 2);
  tip.style.left = Math.min(Math.max(box.x + box.width / 2 - frame.x, half), frame.width - half) + "px";
  tip.style.top = box.y + box.height / 2 - frame.y + "px";
  tip.style.opacity = 1;
  focusVoice(mark.dataset.voice);
}
function leave() { tip.style.opacity = 0; focusVoice(null); }
function play(mark) {
  if (playing) playing.classList.remove("playing");
  playing = mark;
  mark.classList.add("playing");
  say(mark.dataset.label);
  player.src = clips[mark.dataset.recording];
  player.play().catch((error) => {
    if (error.name !== "AbortError") say(mark.dataset.label + ": this browser cannot play it, or it is no longer there");
  });
}
player.onended = () => playing?.classList.remove("playing");
for (const mark of marks) {
  mark.onpointerenter = () => point(mark);
  mark.onpointerleave = leave;
  mark.onclick = () => play(mark);
}
for (const part of document.querySelectorAll("[data-voice]:not(.mark)")) {
  part.onpointerenter = part.onfocus = () => focusVoice(part.dataset.voice);
  part.onpointerleave = part.onblur = () => focusVoice(null);
}
for (const button of document.querySelectorAll("button[data-voice]")) {
  const own = marks.filter((mark) => mark.dataset.voice === button.dataset.voice);
  let next = 0;
  button.onclick = () => play(own[next++ % own.length]);
}
for (const button of document.querySelectorAll("button[data-recording]")) {
  const mark = marks[button.dataset.recording];
  button.onpointerenter = button.onfocus = () => point(mark);
  button.onpointerleave = button.onblur = leave;
  button.onclick = () => play(mark);
}
