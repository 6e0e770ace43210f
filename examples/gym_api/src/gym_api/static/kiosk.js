const form = document.querySelector("form");
const output = document.querySelector("output");
let attempt = null;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { token, member } = Object.fromEntries(new FormData(form));
  // The same member keeps the key until there is an answer: a repeat is not a second check-in.
  attempt = attempt?.member === member ? attempt : { member, key: crypto.randomUUID() };
  try {
    const answer = await fetch("/v1/check-ins", {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Idempotency-Key": attempt.key },
      body: JSON.stringify({ member_id: member }),
    });
    output.value = answer.ok ? "Have a good training!" : (await answer.json()).error;
    if (answer.ok) {
      attempt = null;
      form.elements.member.value = "";
    }
  } catch {
    output.value = "Please try again.";
  }
});
