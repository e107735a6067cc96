import { describe } from 'vitest'
import { staysInside } from './forging.js'
import { pluginsOfFullKernels } from './plugins.js'
import { holdsTheFirst } from './swapping.js'

describe('a namespace that is swapped at every moment:', () => {
  for (const [type, swapped] of Object.entries(pluginsOfFullKernels)) holdsTheFirst(type, swapped)
})

describe("a DEL behind a container's root:", () => {
  for (const [type, swapped] of Object.entries(pluginsOfFullKernels)) staysInside(type, swapped)
})
