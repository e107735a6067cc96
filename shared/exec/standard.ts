import { writeSync } from 'node:fs'

/** Writes all of a text, also to a pipe that takes it in pieces; nothing here loads Node's streams (2.5 ms a start). */
export function write(fd: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'EAGAIN') continue
      if (fd === 1) exit(1, `Error writing error JSON to stdout: ${(thrown as Error).message}\n`)
      return
    }
  }
}

/** Leaves at once: an exit handler or an open handle would only cost time. */
export function exit(status: number, lastWords = ''): never {
  if (lastWords !== '') write(2, lastWords)
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status)
}
