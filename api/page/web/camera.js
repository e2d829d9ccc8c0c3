// A photo from the camera, where the browser lets a page have one: on https, or this machine.
import { at } from "./dom.js";

/**
 * @param {(files: File[]) => void} take
 * @param {(words: string) => void} fail
 */
export function listenForCamera(take, fail) {
  const open = at("camera", HTMLButtonElement);
  const dialog = at("camera-dialog", HTMLDialogElement);
  const video = at("camera-video", HTMLVideoElement);
  if (!isSecureContext || !navigator.mediaDevices?.getUserMedia) return;
  open.hidden = false;
  open.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
      dialog.showModal();
    } catch (err) {
      fail(`There is no camera for this page: ${err instanceof Error ? err.message : err}`);
    }
  });
  at("camera-take", HTMLButtonElement).addEventListener("click", async () => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    const photo = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    dialog.close();
    take([new File([photo], "camera.jpg", { type: "image/jpeg" })]);
  });
  at("camera-close", HTMLButtonElement).addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (video.srcObject instanceof MediaStream) for (const track of video.srcObject.getTracks()) track.stop();
    video.srcObject = null;
  });
}
