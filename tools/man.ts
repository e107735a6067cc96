import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { version } from 'podwire:version'
import { type Definition, Ended, fine, wrong } from './frame/command.js'
import { manualPage, manualPages } from './frame/manual.js'

/** `podwire man`: the man pages, which are made of the commands' definitions. */
export default {
  name: 'man',
  summary: 'print a man page, or write all of them',
  arguments: [{ words: '[command]', what: 'the command whose page it is; without one it is that of podwire' }],
  options: [{ flags: '--to <dir>', what: 'write every page into this folder, as NAME.1' }],
  examples: [
    { line: 'podwire man lint | man -l -', what: 'shows the page of lint' },
    { line: 'podwire man --to /usr/local/share/man/man1', what: 'lets man(1) find all of them' },
  ],
  run: ({ words: [command], options: { to }, console, program }) => {
    if (typeof to === 'string') {
      mkdirSync(to, { recursive: true })
      for (const page of manualPages(program)) {
        writeFileSync(path.join(to, `${page}.1`), manualPage(program, page, version) ?? '')
      }
      return fine
    }
    const page = command === undefined ? program.name() : `${program.name()}-${command}`
    const text = manualPage(program, page, version)
    if (text === undefined) throw new Ended(wrong, `there is no command "${command}": podwire help lists them`)
    console.write(text.trimEnd())
    return fine
  },
} satisfies Definition
