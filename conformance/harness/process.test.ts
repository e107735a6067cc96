import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { run, until } from './process.js'

test('a command that overruns is killed, and the error says what it printed and what it waited for', async () => {
  const overrun = async (deadline: number) => {
    const hanging = run(['bash', '--norc', '-c', 'echo begun; echo why >&2; sleep 987 & wait'], { deadline })
    const { message } = await hanging.then(
      () => expect.unreachable(),
      (error: Error) => error,
    )
    expect(message).toContain(`did not end within ${deadline} ms\n`)
    return message
  }
  // On a busy machine it may not have begun within the first times.
  const isBegun = (message: string) => / S sleep 987 @ /.test(message)
  let message = await overrun(1_000)
  for (const deadline of [5_000, 25_000]) if (!isBegun(message)) message = await overrun(deadline)
  expect(message).toMatch(/^did not end within \d+ ms\nstdout: begun\n\nstderr: why\n/)
  const sleeping = /\d+ S bash --norc -c .* @ .*\n(\d+) S sleep 987 @ /.exec(message)?.[1]
  expect(sleeping, message).toBeDefined()
  await until('nothing of it is left', () => !existsSync(`/proc/${sleeping}`))
})
