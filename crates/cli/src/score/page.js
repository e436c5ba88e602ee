// Shows what a token's data-t says, beside the token and within the window.
const tip = document.getElementById("tip");
const show = (event) => {
  const cell = event.target.closest ? event.target.closest("[data-t]") : null;
  if (!cell) { tip.style.display = "none"; return; }
  tip.textContent = cell.dataset.t;
  tip.style.display = "block";
  const place = cell.getClientRects()[0], own = tip.getBoundingClientRect();
  const below = place.bottom + 6, fits = below + own.height < innerHeight;
  tip.style.top = (fits ? below : Math.max(0, place.top - own.height - 6)) + "px";
  tip.style.left = Math.max(4, Math.min(place.left, innerWidth - own.width - 4)) + "px";
};
document.addEventListener("pointerover", show);
document.addEventListener("scroll", () => { tip.style.display = "none"; });
